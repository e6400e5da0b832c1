// Original file: raccoon/v1/raccoon.proto


export interface MoreInput {
  'id'?: (number);
  'margin'?: (number | string);
}

export interface MoreOutput {
  'id': (number);
  'margin': (number);
}
