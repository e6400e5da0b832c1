// Original file: inference/open_inference.proto


export interface ModelMetadataRequestInput {
  'name'?: (string);
  'version'?: (string);
}

export interface ModelMetadataRequestOutput {
  'name': (string);
  'version': (string);
}
