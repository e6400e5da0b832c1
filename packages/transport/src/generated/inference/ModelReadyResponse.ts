// Original file: inference/open_inference.proto


export interface ModelReadyResponseInput {
  'ready'?: (boolean);
}

export interface ModelReadyResponseOutput {
  'ready': (boolean);
}
