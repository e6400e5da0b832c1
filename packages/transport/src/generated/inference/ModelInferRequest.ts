// Original file: inference/open_inference.proto

import type { InferParameterInput as _inference_InferParameterInput, InferParameterOutput as _inference_InferParameterOutput } from '../inference/InferParameter.ts';
import type { InferTensorContentsInput as _inference_InferTensorContentsInput, InferTensorContentsOutput as _inference_InferTensorContentsOutput } from '../inference/InferTensorContents.ts';
import type { Long } from '@grpc/proto-loader';

export interface _inference_ModelInferRequest_InferInputTensorInput {
  'name'?: (string);
  'datatype'?: (string);
  'shape'?: (number | string | Long)[];
  'parameters'?: ({[key: string]: _inference_InferParameterInput});
  'contents'?: (_inference_InferTensorContentsInput | null);
}

export interface _inference_ModelInferRequest_InferInputTensorOutput {
  'name': (string);
  'datatype': (string);
  'shape': (number)[];
  'parameters': ({[key: string]: _inference_InferParameterOutput});
  'contents': (_inference_InferTensorContentsOutput | null);
}

export interface _inference_ModelInferRequest_InferRequestedOutputTensorInput {
  'name'?: (string);
  'parameters'?: ({[key: string]: _inference_InferParameterInput});
}

export interface _inference_ModelInferRequest_InferRequestedOutputTensorOutput {
  'name': (string);
  'parameters': ({[key: string]: _inference_InferParameterOutput});
}

export interface ModelInferRequestInput {
  'modelName'?: (string);
  'modelVersion'?: (string);
  'id'?: (string);
  'parameters'?: ({[key: string]: _inference_InferParameterInput});
  'inputs'?: (_inference_ModelInferRequest_InferInputTensorInput)[];
  'outputs'?: (_inference_ModelInferRequest_InferRequestedOutputTensorInput)[];
  'rawInputContents'?: (Buffer | Uint8Array | string)[];
}

export interface ModelInferRequestOutput {
  'modelName': (string);
  'modelVersion': (string);
  'id': (string);
  'parameters': ({[key: string]: _inference_InferParameterOutput});
  'inputs': (_inference_ModelInferRequest_InferInputTensorOutput)[];
  'outputs': (_inference_ModelInferRequest_InferRequestedOutputTensorOutput)[];
  'rawInputContents': (Buffer)[];
}
