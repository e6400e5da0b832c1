// Original file: raccoon/v1/raccoon.proto

import type { ResultInput as _raccoon_v1_ResultInput, ResultOutput as _raccoon_v1_ResultOutput } from '../../raccoon/v1/Result.ts';
import type { ErrorInput as _raccoon_v1_ErrorInput, ErrorOutput as _raccoon_v1_ErrorOutput } from '../../raccoon/v1/Error.ts';

export interface InferResponseInput {
  'id'?: (number);
  'result'?: (_raccoon_v1_ResultInput | null);
  'error'?: (_raccoon_v1_ErrorInput | null);
  'queueMs'?: (number | string);
  'decodeMs'?: (number | string);
  'inferMs'?: (number | string);
  'bundleVersion'?: (string);
  'outcome'?: "result"|"error";
}

export interface InferResponseOutput {
  'id': (number);
  'result'?: (_raccoon_v1_ResultOutput | null);
  'error'?: (_raccoon_v1_ErrorOutput | null);
  'queueMs': (number);
  'decodeMs': (number);
  'inferMs': (number);
  'bundleVersion': (string);
  'outcome'?: "result"|"error";
}
