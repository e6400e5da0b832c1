import { fromJSON } from '@grpc/proto-loader';
import type { MessageTypeDefinition, PackageDefinition } from '@grpc/proto-loader';
import { isErrorCode } from './errors.ts';
import { descriptor } from './generated/descriptor.ts';
import type { BundleInfoInput, BundleInfoOutput } from './generated/raccoon/v1/BundleInfo.ts';
import type { ClientMessageInput, ClientMessageOutput } from './generated/raccoon/v1/ClientMessage.ts';
import type { ErrorOutput } from './generated/raccoon/v1/Error.ts';
import type {
  FetchFileRequestInput,
  FetchFileRequestOutput,
} from './generated/raccoon/v1/FetchFileRequest.ts';
import type { FileChunkInput, FileChunkOutput } from './generated/raccoon/v1/FileChunk.ts';
import type {
  GetBundleRequestInput,
  GetBundleRequestOutput,
} from './generated/raccoon/v1/GetBundleRequest.ts';
import type { InferRequestInput, InferRequestOutput } from './generated/raccoon/v1/InferRequest.ts';
import type { InferResponseInput, InferResponseOutput } from './generated/raccoon/v1/InferResponse.ts';
import type { ResultInput, ResultOutput } from './generated/raccoon/v1/Result.ts';
import type { ServerMessageInput, ServerMessageOutput } from './generated/raccoon/v1/ServerMessage.ts';
import { decodeRequest, decodeResult, encodeRequest, encodeResult } from './hot-wire.ts';
import type {
  BundleInfo,
  ClientMessage,
  InferError,
  InferRequest,
  InferResponse,
  Result,
  ServerMessage,
  Unreadable,
} from './messages.ts';

// Messages <-> protobuf bytes. protobufjs writes every field that it is given, so a default is left out here.

/** A message type's way to the wire and back. */
export interface Wire<T> {
  readonly encode: (message: T) => Buffer;
  /** @throws when the bytes are not protobuf or contradict the schema */
  readonly decode: (bytes: Buffer) => T;
}

/** An object, because grpc-js takes an empty string for no message at all. */
export interface BundleRequest {
  readonly name: string;
}

export interface FileRequest {
  readonly bundle: string;
  readonly file: string;
  /** Bytes to skip. */
  readonly offset: number;
}

interface Types {
  readonly 'raccoon.v1.ClientMessage': MessageTypeDefinition<ClientMessageInput, ClientMessageOutput>;
  readonly 'raccoon.v1.ServerMessage': MessageTypeDefinition<ServerMessageInput, ServerMessageOutput>;
  readonly 'raccoon.v1.InferRequest': MessageTypeDefinition<InferRequestInput, InferRequestOutput>;
  readonly 'raccoon.v1.InferResponse': MessageTypeDefinition<InferResponseInput, InferResponseOutput>;
  readonly 'raccoon.v1.GetBundleRequest': MessageTypeDefinition<
    GetBundleRequestInput,
    GetBundleRequestOutput
  >;
  readonly 'raccoon.v1.BundleInfo': MessageTypeDefinition<BundleInfoInput, BundleInfoOutput>;
  readonly 'raccoon.v1.FetchFileRequest': MessageTypeDefinition<
    FetchFileRequestInput,
    FetchFileRequestOutput
  >;
  readonly 'raccoon.v1.FileChunk': MessageTypeDefinition<FileChunkInput, FileChunkOutput>;
}

export const packageDefinition: PackageDefinition = fromJSON(descriptor, {
  longs: Number,
  defaults: true,
  oneofs: true,
});

// The generated types describe this very descriptor, read with these very options.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const types = packageDefinition as unknown as Types;

function wire<T, I extends object, O extends object>(
  type: MessageTypeDefinition<I, O>,
  toWire: (message: T) => I,
  fromWire: (message: O) => T,
): Wire<T> {
  return {
    encode: (message) => type.serialize(toWire(message)),
    decode: (bytes) => fromWire(type.deserialize(bytes)),
  };
}

export const clientMessageWire: Wire<ClientMessage> = forgiving(
  withHotRequests(wire(types['raccoon.v1.ClientMessage'], clientToWire, clientFromWire)),
);
export const serverMessageWire: Wire<ServerMessage> = forgiving(
  withHotResults(wire(types['raccoon.v1.ServerMessage'], serverToWire, serverFromWire)),
);
export const inferRequestWire: Wire<InferRequest | Unreadable> = forgivingCall(
  wire(types['raccoon.v1.InferRequest'], requestToWire, requestFromWire),
);
export const inferResponseWire: Wire<InferResponse> = wire(
  types['raccoon.v1.InferResponse'],
  responseToWire,
  responseFromWire,
);
export const getBundleWire: Wire<BundleRequest | Unreadable> = forgivingCall(
  wire(
    types['raccoon.v1.GetBundleRequest'],
    ({ name }: BundleRequest) => ({ name }),
    ({ name }) => ({ name }),
  ),
);
export const bundleInfoWire: Wire<BundleInfo> = wire(
  types['raccoon.v1.BundleInfo'],
  ({ name, version, manifest }: BundleInfo) => ({ name, version, manifest }),
  ({ name, version, manifest }) => ({ name, version, manifest: view(manifest) }),
);
export const fetchFileWire: Wire<FileRequest | Unreadable> = forgivingCall(
  wire(
    types['raccoon.v1.FetchFileRequest'],
    ({ bundle, file, offset }: FileRequest) => ({ bundle, file, offset }),
    ({ bundle, file, offset }) => ({ bundle, file, offset }),
  ),
);
export const fileChunkWire: Wire<Uint8Array> = wire(
  types['raccoon.v1.FileChunk'],
  (data: Uint8Array) => ({ data }),
  ({ data }) => view(data),
);

function withHotRequests({ encode, decode }: Wire<ClientMessage>): Wire<ClientMessage> {
  return {
    encode: (message) => (message.kind === 'request' ? encodeRequest(message.request) : encode(message)),
    decode: (bytes) => {
      const request = decodeRequest(bytes);
      return request ? { kind: 'request', request } : decode(bytes);
    },
  };
}

function withHotResults({ encode, decode }: Wire<ServerMessage>): Wire<ServerMessage> {
  return {
    encode: (message) =>
      message.kind === 'response' && message.response.result
        ? encodeResult(message.response)
        : encode(message),
    decode: (bytes) => {
      const response = decodeResult(bytes);
      return response ? { kind: 'response', response } : decode(bytes);
    },
  };
}

/** On a stream, bytes that make no sense are one message that makes no sense: the framing around them still holds. */
function forgiving<T>({ encode, decode }: Wire<T | Unreadable>): Wire<T | Unreadable> {
  return {
    encode,
    decode: (bytes) => {
      try {
        return decode(bytes);
      } catch {
        return { kind: 'unreadable' };
      }
    },
  };
}

/** The same for the one message of a call. */
function forgivingCall<T extends object>({ encode, decode }: Wire<T>): Wire<T | Unreadable> {
  return forgiving({ encode: (message) => ('kind' in message ? Buffer.alloc(0) : encode(message)), decode });
}

function clientToWire(message: ClientMessage): ClientMessageInput {
  if (message.kind === 'request') return { request: requestToWire(message.request) };
  if (message.kind === 'cancel') return { cancel: { id: message.id } };
  if (message.kind === 'hello') return { hello: withCodecIds(message.hello, codecIdToBytes) };
  return {};
}

function clientFromWire({ request, cancel, hello }: ClientMessageOutput): ClientMessage {
  if (request) return { kind: 'request', request: requestFromWire(request) };
  if (cancel) return { kind: 'cancel', id: cancel.id };
  if (hello) return { kind: 'hello', hello: withCodecIds(hello, codecIdFromBytes) };
  return { kind: 'unreadable' };
}

function serverToWire(message: ServerMessage): ServerMessageInput {
  if (message.kind === 'response') return { response: responseToWire(message.response) };
  if (message.kind === 'welcome') return { welcome: withCodecIds(message.welcome, codecIdToBytes) };
  if (message.kind === 'more') return { more: { ...message.more } };
  if (message.kind === 'goAway') return { goAway: { reason: message.reason } };
  if (message.kind === 'load') return { load: { ...message.load } };
  return {};
}

function serverFromWire({ response, welcome, goAway, more, load }: ServerMessageOutput): ServerMessage {
  if (response) return { kind: 'response', response: responseFromWire(response) };
  if (more) return { kind: 'more', more: { id: more.id, margin: more.margin } };
  if (load) return { kind: 'load', load: { ...load } };
  if (goAway) return { kind: 'goAway', reason: goAway.reason };
  if (welcome) return { kind: 'welcome', welcome: withCodecIds(welcome, codecIdFromBytes) };
  return { kind: 'unreadable' };
}

function requestToWire(request: InferRequest): InferRequestInput {
  const {
    id,
    payload,
    timeoutMs,
    topK,
    wantLogits,
    sliceIndex,
    moreSlices,
    priority,
    traceparent,
    stopMargin,
  } = request;
  return {
    id,
    payload,
    ...(timeoutMs ? { timeoutMs } : {}),
    ...(topK ? { topK } : {}),
    ...(wantLogits ? { wantLogits } : {}),
    ...(sliceIndex ? { sliceIndex } : {}),
    ...(moreSlices ? { moreSlices } : {}),
    ...(priority ? { priority } : {}),
    ...(traceparent ? { traceparent } : {}),
    ...(stopMargin ? { stopMargin } : {}),
  };
}

function requestFromWire(request: InferRequestOutput): InferRequest {
  return { ...request, payload: view(request.payload) };
}

function responseToWire(response: InferResponse): InferResponseInput {
  const { id, result, error, queueMs, decodeMs, inferMs, bundleVersion } = response;
  return {
    id,
    ...(result ? { result: resultToWire(result) } : { error: { ...error } }),
    ...(queueMs ? { queueMs } : {}),
    ...(decodeMs ? { decodeMs } : {}),
    ...(inferMs ? { inferMs } : {}),
    ...(bundleVersion ? { bundleVersion } : {}),
  };
}

function responseFromWire(response: InferResponseOutput): InferResponse {
  const { id, result, error, queueMs, decodeMs, inferMs, bundleVersion } = response;
  const answer = { id, queueMs, decodeMs, inferMs, bundleVersion };
  if (result) return { ...answer, result: resultFromWire(result) };
  if (error) return { ...answer, error: errorFromWire(error) };
  return { ...answer, error: errorFromWire({ code: 'internal', message: 'the answer is empty' }) };
}

function resultToWire({ top, margin, logits }: Result): ResultInput {
  return { top: [...top], margin, ...(logits ? { logits: Array.from(logits) } : {}) };
}

function resultFromWire({ top, margin, logits }: ResultOutput): Result {
  return { top, margin, ...(logits.length > 0 ? { logits: Float32Array.from(logits) } : {}) };
}

function errorFromWire({ code, message, retryAfterMs = 0 }: Partial<ErrorOutput>): InferError {
  if (code !== undefined && isErrorCode(code)) return { code, message: message ?? '', retryAfterMs };
  return { code: 'internal', message: `${code}: ${message}`, retryAfterMs };
}

function withCodecIds<M extends { readonly codecIds: readonly unknown[] }, To>(
  message: M,
  convert: (id: M['codecIds'][number]) => To,
): Omit<M, 'codecIds'> & { codecIds: To[] } {
  return { ...message, codecIds: message.codecIds.map(convert) };
}

function codecIdToBytes(id: string): Uint8Array {
  return Buffer.from(id, 'hex');
}

function codecIdFromBytes(id: Uint8Array): string {
  return Buffer.from(id).toString('hex');
}

/** The same bytes as a plain Uint8Array, whose `slice` copies where Buffer's does not. */
function view(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
