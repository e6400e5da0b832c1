// Original file: raccoon/v1/raccoon.proto

import type { InferResponseInput as _raccoon_v1_InferResponseInput, InferResponseOutput as _raccoon_v1_InferResponseOutput } from '../../raccoon/v1/InferResponse.ts';
import type { WelcomeInput as _raccoon_v1_WelcomeInput, WelcomeOutput as _raccoon_v1_WelcomeOutput } from '../../raccoon/v1/Welcome.ts';
import type { GoAwayInput as _raccoon_v1_GoAwayInput, GoAwayOutput as _raccoon_v1_GoAwayOutput } from '../../raccoon/v1/GoAway.ts';
import type { MoreInput as _raccoon_v1_MoreInput, MoreOutput as _raccoon_v1_MoreOutput } from '../../raccoon/v1/More.ts';
import type { LoadInput as _raccoon_v1_LoadInput, LoadOutput as _raccoon_v1_LoadOutput } from '../../raccoon/v1/Load.ts';

export interface ServerMessageInput {
  'response'?: (_raccoon_v1_InferResponseInput | null);
  'welcome'?: (_raccoon_v1_WelcomeInput | null);
  'goAway'?: (_raccoon_v1_GoAwayInput | null);
  'more'?: (_raccoon_v1_MoreInput | null);
  'load'?: (_raccoon_v1_LoadInput | null);
  'kind'?: "response"|"welcome"|"goAway"|"more"|"load";
}

export interface ServerMessageOutput {
  'response'?: (_raccoon_v1_InferResponseOutput | null);
  'welcome'?: (_raccoon_v1_WelcomeOutput | null);
  'goAway'?: (_raccoon_v1_GoAwayOutput | null);
  'more'?: (_raccoon_v1_MoreOutput | null);
  'load'?: (_raccoon_v1_LoadOutput | null);
  'kind'?: "response"|"welcome"|"goAway"|"more"|"load";
}
