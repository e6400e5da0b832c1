// Original file: inference/open_inference.proto


export interface ServerLiveResponseInput {
  'live'?: (boolean);
}

export interface ServerLiveResponseOutput {
  'live': (boolean);
}
