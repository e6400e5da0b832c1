// Original file: inference/open_inference.proto

import type { MethodDefinition } from '@grpc/proto-loader'
import type { ModelInferRequestInput as _inference_ModelInferRequestInput, ModelInferRequestOutput as _inference_ModelInferRequestOutput } from '../inference/ModelInferRequest.ts';
import type { ModelInferResponseInput as _inference_ModelInferResponseInput, ModelInferResponseOutput as _inference_ModelInferResponseOutput } from '../inference/ModelInferResponse.ts';
import type { ModelMetadataRequestInput as _inference_ModelMetadataRequestInput, ModelMetadataRequestOutput as _inference_ModelMetadataRequestOutput } from '../inference/ModelMetadataRequest.ts';
import type { ModelMetadataResponseInput as _inference_ModelMetadataResponseInput, ModelMetadataResponseOutput as _inference_ModelMetadataResponseOutput } from '../inference/ModelMetadataResponse.ts';
import type { ModelReadyRequestInput as _inference_ModelReadyRequestInput, ModelReadyRequestOutput as _inference_ModelReadyRequestOutput } from '../inference/ModelReadyRequest.ts';
import type { ModelReadyResponseInput as _inference_ModelReadyResponseInput, ModelReadyResponseOutput as _inference_ModelReadyResponseOutput } from '../inference/ModelReadyResponse.ts';
import type { ServerLiveRequestInput as _inference_ServerLiveRequestInput, ServerLiveRequestOutput as _inference_ServerLiveRequestOutput } from '../inference/ServerLiveRequest.ts';
import type { ServerLiveResponseInput as _inference_ServerLiveResponseInput, ServerLiveResponseOutput as _inference_ServerLiveResponseOutput } from '../inference/ServerLiveResponse.ts';
import type { ServerMetadataRequestInput as _inference_ServerMetadataRequestInput, ServerMetadataRequestOutput as _inference_ServerMetadataRequestOutput } from '../inference/ServerMetadataRequest.ts';
import type { ServerMetadataResponseInput as _inference_ServerMetadataResponseInput, ServerMetadataResponseOutput as _inference_ServerMetadataResponseOutput } from '../inference/ServerMetadataResponse.ts';
import type { ServerReadyRequestInput as _inference_ServerReadyRequestInput, ServerReadyRequestOutput as _inference_ServerReadyRequestOutput } from '../inference/ServerReadyRequest.ts';
import type { ServerReadyResponseInput as _inference_ServerReadyResponseInput, ServerReadyResponseOutput as _inference_ServerReadyResponseOutput } from '../inference/ServerReadyResponse.ts';

export interface GRPCInferenceServiceDefinition {
  ModelInfer: MethodDefinition<_inference_ModelInferRequestInput, _inference_ModelInferResponseInput, _inference_ModelInferRequestOutput, _inference_ModelInferResponseOutput>
  ModelMetadata: MethodDefinition<_inference_ModelMetadataRequestInput, _inference_ModelMetadataResponseInput, _inference_ModelMetadataRequestOutput, _inference_ModelMetadataResponseOutput>
  ModelReady: MethodDefinition<_inference_ModelReadyRequestInput, _inference_ModelReadyResponseInput, _inference_ModelReadyRequestOutput, _inference_ModelReadyResponseOutput>
  ServerLive: MethodDefinition<_inference_ServerLiveRequestInput, _inference_ServerLiveResponseInput, _inference_ServerLiveRequestOutput, _inference_ServerLiveResponseOutput>
  ServerMetadata: MethodDefinition<_inference_ServerMetadataRequestInput, _inference_ServerMetadataResponseInput, _inference_ServerMetadataRequestOutput, _inference_ServerMetadataResponseOutput>
  ServerReady: MethodDefinition<_inference_ServerReadyRequestInput, _inference_ServerReadyResponseInput, _inference_ServerReadyRequestOutput, _inference_ServerReadyResponseOutput>
}
