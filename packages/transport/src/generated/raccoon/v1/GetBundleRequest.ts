// Original file: raccoon/v1/raccoon.proto


export interface GetBundleRequestInput {
  'name'?: (string);
}

export interface GetBundleRequestOutput {
  'name': (string);
}
