// Original file: inference/open_inference.proto


export interface ServerMetadataRequestInput {
}

export interface ServerMetadataRequestOutput {
}
