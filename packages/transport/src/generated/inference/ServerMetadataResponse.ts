// Original file: inference/open_inference.proto


export interface ServerMetadataResponseInput {
  'name'?: (string);
  'version'?: (string);
  'extensions'?: (string)[];
}

export interface ServerMetadataResponseOutput {
  'name': (string);
  'version': (string);
  'extensions': (string)[];
}
