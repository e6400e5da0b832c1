// Original file: raccoon/v1/raccoon.proto

import type { InferRequestInput as _raccoon_v1_InferRequestInput, InferRequestOutput as _raccoon_v1_InferRequestOutput } from '../../raccoon/v1/InferRequest.ts';
import type { CancelInput as _raccoon_v1_CancelInput, CancelOutput as _raccoon_v1_CancelOutput } from '../../raccoon/v1/Cancel.ts';
import type { HelloInput as _raccoon_v1_HelloInput, HelloOutput as _raccoon_v1_HelloOutput } from '../../raccoon/v1/Hello.ts';

export interface ClientMessageInput {
  'request'?: (_raccoon_v1_InferRequestInput | null);
  'cancel'?: (_raccoon_v1_CancelInput | null);
  'hello'?: (_raccoon_v1_HelloInput | null);
  'kind'?: "request"|"cancel"|"hello";
}

export interface ClientMessageOutput {
  'request'?: (_raccoon_v1_InferRequestOutput | null);
  'cancel'?: (_raccoon_v1_CancelOutput | null);
  'hello'?: (_raccoon_v1_HelloOutput | null);
  'kind'?: "request"|"cancel"|"hello";
}
