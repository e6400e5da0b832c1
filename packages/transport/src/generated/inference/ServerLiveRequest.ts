// Original file: inference/open_inference.proto


export interface ServerLiveRequestInput {
}

export interface ServerLiveRequestOutput {
}
