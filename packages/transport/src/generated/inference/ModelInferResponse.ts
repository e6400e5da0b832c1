// Original file: inference/open_inference.proto

import type { InferParameterInput as _inference_InferParameterInput, InferParameterOutput as _inference_InferParameterOutput } from '../inference/InferParameter.ts';
import type { InferTensorContentsInput as _inference_InferTensorContentsInput, InferTensorContentsOutput as _inference_InferTensorContentsOutput } from '../inference/InferTensorContents.ts';
import type { Long } from '@grpc/proto-loader';

export interface _inference_ModelInferResponse_InferOutputTensorInput {
  'name'?: (string);
  'datatype'?: (string);
  'shape'?: (number | string | Long)[];
  'parameters'?: ({[key: string]: _inference_InferParameterInput});
  'contents'?: (_inference_InferTensorContentsInput | null);
}

export interface _inference_ModelInferResponse_InferOutputTensorOutput {
  'name': (string);
  'datatype': (string);
  'shape': (number)[];
  'parameters': ({[key: string]: _inference_InferParameterOutput});
  'contents': (_inference_InferTensorContentsOutput | null);
}

export interface ModelInferResponseInput {
  'modelName'?: (string);
  'modelVersion'?: (string);
  'id'?: (string);
  'parameters'?: ({[key: string]: _inference_InferParameterInput});
  'outputs'?: (_inference_ModelInferResponse_InferOutputTensorInput)[];
  'rawOutputContents'?: (Buffer | Uint8Array | string)[];
}

export interface ModelInferResponseOutput {
  'modelName': (string);
  'modelVersion': (string);
  'id': (string);
  'parameters': ({[key: string]: _inference_InferParameterOutput});
  'outputs': (_inference_ModelInferResponse_InferOutputTensorOutput)[];
  'rawOutputContents': (Buffer)[];
}
