// Original file: raccoon/v1/raccoon.proto

import type { MethodDefinition } from '@grpc/proto-loader'
import type { BundleInfoInput as _raccoon_v1_BundleInfoInput, BundleInfoOutput as _raccoon_v1_BundleInfoOutput } from '../../raccoon/v1/BundleInfo.ts';
import type { ClientMessageInput as _raccoon_v1_ClientMessageInput, ClientMessageOutput as _raccoon_v1_ClientMessageOutput } from '../../raccoon/v1/ClientMessage.ts';
import type { FetchFileRequestInput as _raccoon_v1_FetchFileRequestInput, FetchFileRequestOutput as _raccoon_v1_FetchFileRequestOutput } from '../../raccoon/v1/FetchFileRequest.ts';
import type { FileChunkInput as _raccoon_v1_FileChunkInput, FileChunkOutput as _raccoon_v1_FileChunkOutput } from '../../raccoon/v1/FileChunk.ts';
import type { GetBundleRequestInput as _raccoon_v1_GetBundleRequestInput, GetBundleRequestOutput as _raccoon_v1_GetBundleRequestOutput } from '../../raccoon/v1/GetBundleRequest.ts';
import type { InferRequestInput as _raccoon_v1_InferRequestInput, InferRequestOutput as _raccoon_v1_InferRequestOutput } from '../../raccoon/v1/InferRequest.ts';
import type { InferResponseInput as _raccoon_v1_InferResponseInput, InferResponseOutput as _raccoon_v1_InferResponseOutput } from '../../raccoon/v1/InferResponse.ts';
import type { ServerMessageInput as _raccoon_v1_ServerMessageInput, ServerMessageOutput as _raccoon_v1_ServerMessageOutput } from '../../raccoon/v1/ServerMessage.ts';

export interface RaccoonDefinition {
  FetchFile: MethodDefinition<_raccoon_v1_FetchFileRequestInput, _raccoon_v1_FileChunkInput, _raccoon_v1_FetchFileRequestOutput, _raccoon_v1_FileChunkOutput>
  GetBundle: MethodDefinition<_raccoon_v1_GetBundleRequestInput, _raccoon_v1_BundleInfoInput, _raccoon_v1_GetBundleRequestOutput, _raccoon_v1_BundleInfoOutput>
  Infer: MethodDefinition<_raccoon_v1_ClientMessageInput, _raccoon_v1_ServerMessageInput, _raccoon_v1_ClientMessageOutput, _raccoon_v1_ServerMessageOutput>
  InferOnce: MethodDefinition<_raccoon_v1_InferRequestInput, _raccoon_v1_InferResponseInput, _raccoon_v1_InferRequestOutput, _raccoon_v1_InferResponseOutput>
}
