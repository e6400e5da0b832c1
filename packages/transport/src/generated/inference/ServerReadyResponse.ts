// Original file: inference/open_inference.proto


export interface ServerReadyResponseInput {
  'ready'?: (boolean);
}

export interface ServerReadyResponseOutput {
  'ready': (boolean);
}
