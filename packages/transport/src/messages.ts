import type { TransportErrorCode } from './errors.ts';

// What travels, without a word on how. proto/raccoon/v1/raccoon.proto says the same in protobuf.

/** The client's first words on a stream. */
export interface Hello {
  /** Versions of the conversation that the client speaks, both inclusive. */
  readonly protocolMin: number;
  readonly protocolMax: number;
  /** The codecs that the client may send: 12 hexadecimal digits each. */
  readonly codecIds: readonly string[];
  /** Name and version, for the log. */
  readonly client: string;
}

/** The cloud's first words on a stream. */
export interface Welcome {
  readonly protocol: number;
  /** Those of the Hello that the cloud can decode. */
  readonly codecIds: readonly string[];
  readonly bundle: string;
  readonly bundleVersion: string;
  /** Requests of this stream without an answer, at most. */
  readonly maxInFlight: number;
  readonly maxPayloadBytes: number;
}

/** One image. */
export interface InferRequest {
  /** 1 ... 2^32-1, unique among the requests in flight of its stream. */
  readonly id: number;
  /** One slice of the bitstream. From the wire it is a view of a larger buffer: copy it before transferring it. */
  readonly payload: Uint8Array;
  /** ms from arrival in the cloud; absent or 0: none. */
  readonly timeoutMs?: number;
  /** Classes to return; absent or 0: as the cloud likes. */
  readonly topK?: number;
  readonly wantLogits?: boolean;
  /** Protocol 1 takes images of one slice; these two are for the next. */
  readonly sliceIndex?: number;
  readonly moreSlices?: boolean;
  /** Absent or 0: normal; 1: background, served from what is left and shed first. */
  readonly priority?: number;
  /** W3C Trace Context of this image, when the application traces. */
  readonly traceparent?: string;
}

interface Answer {
  /** The request's; 0 answers a message that could not be read. */
  readonly id: number;
  readonly queueMs: number;
  readonly decodeMs: number;
  readonly inferMs: number;
  readonly bundleVersion: string;
}

/** Exactly one for each request. */
export type InferResponse = Answer &
  (
    | { readonly result: Result; readonly error?: undefined }
    | { readonly error: InferError; readonly result?: undefined }
  );

export interface Result {
  /** Most probable first. */
  readonly top: readonly ClassScore[];
  /** Probability of the first class less that of the second. */
  readonly margin: number;
  /** Of every class, when asked for. */
  readonly logits?: Float32Array;
}

export interface ClassScore {
  /** Into the manifest's classes. */
  readonly index: number;
  readonly probability: number;
  readonly logit: number;
}

export interface InferError {
  readonly code: TransportErrorCode;
  readonly message: string;
  /** ms to wait before a retry, 0 = no advice. */
  readonly retryAfterMs: number;
}

export interface BundleInfo {
  readonly name: string;
  readonly version: string;
  /** manifest.json, byte for byte. */
  readonly manifest: Uint8Array;
}

/** Something that this version cannot read. */
export interface Unreadable {
  readonly kind: 'unreadable';
}

/** What a client says on a stream. */
export type ClientMessage =
  | { readonly kind: 'hello'; readonly hello: Hello }
  | { readonly kind: 'request'; readonly request: InferRequest }
  | { readonly kind: 'cancel'; readonly id: number }
  | Unreadable;

/** What a cloud says on a stream. */
export type ServerMessage =
  | { readonly kind: 'welcome'; readonly welcome: Welcome }
  | { readonly kind: 'response'; readonly response: InferResponse }
  | { readonly kind: 'goAway'; readonly reason: string }
  | Unreadable;

/** A response that carries an error, for services. */
export function errorResponse(
  id: number,
  code: TransportErrorCode,
  message: string,
  retryAfterMs = 0,
): InferResponse {
  const error = { code, message, retryAfterMs };
  return { id, error, queueMs: 0, decodeMs: 0, inferMs: 0, bundleVersion: '' };
}
