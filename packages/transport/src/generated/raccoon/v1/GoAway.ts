// Original file: raccoon/v1/raccoon.proto


export interface GoAwayInput {
  'reason'?: (string);
}

export interface GoAwayOutput {
  'reason': (string);
}
