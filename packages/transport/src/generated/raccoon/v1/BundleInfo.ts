// Original file: raccoon/v1/raccoon.proto


export interface BundleInfoInput {
  'name'?: (string);
  'version'?: (string);
  'manifest'?: (Buffer | Uint8Array | string);
}

export interface BundleInfoOutput {
  'name': (string);
  'version': (string);
  'manifest': (Buffer);
}
