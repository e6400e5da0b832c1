// Original file: inference/open_inference.proto

import type { Long } from '@grpc/proto-loader';

export interface _inference_ModelMetadataResponse_TensorMetadataInput {
  'name'?: (string);
  'datatype'?: (string);
  'shape'?: (number | string | Long)[];
}

export interface _inference_ModelMetadataResponse_TensorMetadataOutput {
  'name': (string);
  'datatype': (string);
  'shape': (number)[];
}

export interface ModelMetadataResponseInput {
  'name'?: (string);
  'versions'?: (string)[];
  'platform'?: (string);
  'inputs'?: (_inference_ModelMetadataResponse_TensorMetadataInput)[];
  'outputs'?: (_inference_ModelMetadataResponse_TensorMetadataInput)[];
}

export interface ModelMetadataResponseOutput {
  'name': (string);
  'versions': (string)[];
  'platform': (string);
  'inputs': (_inference_ModelMetadataResponse_TensorMetadataOutput)[];
  'outputs': (_inference_ModelMetadataResponse_TensorMetadataOutput)[];
}
