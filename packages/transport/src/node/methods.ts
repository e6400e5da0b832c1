import type { MethodDefinition } from '@grpc/grpc-js';
import type {
  BundleInfo,
  ClientMessage,
  InferRequest,
  InferResponse,
  ServerMessage,
  Unreadable,
} from '../messages.ts';
import {
  bundleInfoWire,
  clientMessageWire,
  fetchFileWire,
  fileChunkWire,
  getBundleWire,
  inferRequestWire,
  inferResponseWire,
  serverMessageWire,
} from '../wire.ts';
import type { BundleRequest, FileRequest, Wire } from '../wire.ts';

/** The service's methods with our own messages at both ends: handlers never see protobuf. */
export interface Methods {
  readonly infer: MethodDefinition<ClientMessage, ServerMessage>;
  readonly inferOnce: MethodDefinition<InferRequest | Unreadable, InferResponse>;
  readonly getBundle: MethodDefinition<BundleRequest | Unreadable, BundleInfo>;
  readonly fetchFile: MethodDefinition<FileRequest | Unreadable, Uint8Array>;
}

export const methods: Methods = {
  infer: method('Infer', clientMessageWire, serverMessageWire, { requestStream: true, responseStream: true }),
  inferOnce: method('InferOnce', inferRequestWire, inferResponseWire),
  getBundle: method('GetBundle', getBundleWire, bundleInfoWire),
  fetchFile: method('FetchFile', fetchFileWire, fileChunkWire, { responseStream: true }),
};

function method<Q, S>(
  name: string,
  request: Wire<Q>,
  response: Wire<S>,
  { requestStream = false, responseStream = false } = {},
): MethodDefinition<Q, S> {
  return {
    path: `/raccoon.v1.Raccoon/${name}`,
    originalName: name,
    requestStream,
    responseStream,
    requestSerialize: request.encode,
    requestDeserialize: request.decode,
    responseSerialize: response.encode,
    responseDeserialize: response.decode,
  };
}
