// Original file: raccoon/v1/raccoon.proto


export interface ClassScoreInput {
  'index'?: (number);
  'probability'?: (number | string);
  'logit'?: (number | string);
}

export interface ClassScoreOutput {
  'index': (number);
  'probability': (number);
  'logit': (number);
}
