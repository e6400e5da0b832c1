// Original file: raccoon/v1/raccoon.proto

import type { ClassScoreInput as _raccoon_v1_ClassScoreInput, ClassScoreOutput as _raccoon_v1_ClassScoreOutput } from '../../raccoon/v1/ClassScore.ts';

export interface ResultInput {
  'top'?: (_raccoon_v1_ClassScoreInput)[];
  'margin'?: (number | string);
  'logits'?: (number | string)[];
}

export interface ResultOutput {
  'top': (_raccoon_v1_ClassScoreOutput)[];
  'margin': (number);
  'logits': (number)[];
}
