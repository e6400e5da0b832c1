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
  /** ms between two reports of the cloud's load, at least; absent or 0: none. */
  readonly loadIntervalMs?: number;
}

/** The cloud's first words on a stream. */
export interface Welcome {
  readonly protocol: number;
  /** Those of the Hello that the cloud can decode. */
  readonly codecIds: readonly string[];
  readonly bundle: string;
  readonly bundleVersion: string;
  /** Images of this stream without an answer, at most. */
  readonly maxInFlight: number;
  /** Of one image, all its slices together. */
  readonly maxPayloadBytes: number;
  /** Of one image; 0: a cloud from before slices, it takes an image as one. */
  readonly maxSlices: number;
}

/** What a service says of itself in its Welcome; the limits are the server's. */
export type ServiceWelcome = Omit<Welcome, 'maxInFlight' | 'maxPayloadBytes' | 'maxSlices'>;

/** One image, or one slice of it: what its answer depends on is in the first. */
export interface InferRequest {
  /** 1 ... 2^32-1, unique among the images in flight of its stream, and the same for all slices of one. */
  readonly id: number;
  /** One slice of the bitstream. From the wire it is a view of a larger buffer: copy it before transferring it. */
  readonly payload: Uint8Array;
  /** ms from arrival in the cloud; absent or 0: none. */
  readonly timeoutMs?: number;
  /** Classes to return; absent or 0: as the cloud likes. */
  readonly topK?: number;
  readonly wantLogits?: boolean;
  /** Absent or 0: the first slice. */
  readonly sliceIndex?: number;
  /** Whether this is not the image's last slice. */
  readonly moreSlices?: boolean;
  /**
   * Answer with the slices that are there once the margin is at least this, and ask for the next one until then; absent or
   * 0: answer when all are there, without asking.
   */
  readonly stopMargin?: number;
  /** Absent or 0: normal; 1: background, served from what is left and shed first. */
  readonly priority?: number;
  /** W3C Trace Context of this image, when the application traces. */
  readonly traceparent?: string;
  /** The bundle, and its version, that has to answer; absent: whichever has the codec. Not on our own wire: docs/oip.md. */
  readonly bundle?: string;
  readonly bundleVersion?: string;
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

/** The cloud is not sure of an image yet, and waits for its next slice. */
export interface More {
  readonly id: number;
  /** `Result.margin`, were this its answer. */
  readonly margin: number;
}

/** How busy a cloud is. */
export interface Load {
  /** What its workers need for the images of other streams that are there, ms. */
  readonly queueMs: number;
  /** What its workers can do, as measured lately; 0: not known yet. */
  readonly imagesPerSecond: number;
  /** Share of the workers' time in which they worked, of late. */
  readonly utilisation: number;
  /** It serves still, and will be gone soon. */
  readonly draining: boolean;
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
  | { readonly kind: 'more'; readonly more: More }
  | { readonly kind: 'load'; readonly load: Load }
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
