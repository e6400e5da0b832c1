// Original file: inference/open_inference.proto


export interface ModelReadyRequestInput {
  'name'?: (string);
  'version'?: (string);
}

export interface ModelReadyRequestOutput {
  'name': (string);
  'version': (string);
}
