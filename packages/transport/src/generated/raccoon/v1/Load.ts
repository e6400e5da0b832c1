// Original file: raccoon/v1/raccoon.proto


export interface LoadInput {
  'queueMs'?: (number | string);
  'imagesPerSecond'?: (number | string);
  'utilisation'?: (number | string);
  'draining'?: (boolean);
}

export interface LoadOutput {
  'queueMs': (number);
  'imagesPerSecond': (number);
  'utilisation': (number);
  'draining': (boolean);
}
