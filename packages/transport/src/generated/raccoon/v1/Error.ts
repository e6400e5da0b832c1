// Original file: raccoon/v1/raccoon.proto


export interface ErrorInput {
  'code'?: (string);
  'message'?: (string);
  'retryAfterMs'?: (number);
}

export interface ErrorOutput {
  'code': (string);
  'message': (string);
  'retryAfterMs': (number);
}
