// Original file: raccoon/v1/raccoon.proto


export interface CancelInput {
  'id'?: (number);
}

export interface CancelOutput {
  'id': (number);
}
