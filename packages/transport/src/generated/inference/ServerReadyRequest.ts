// Original file: inference/open_inference.proto


export interface ServerReadyRequestInput {
}

export interface ServerReadyRequestOutput {
}
