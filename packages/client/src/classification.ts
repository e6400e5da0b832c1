import type { ImageInput } from '@raccoon/edge';
import type { TransportErrorCode } from '@raccoon/transport';

/** One class that an image may show. */
export interface ScoredClass {
  /** Into the manifest's classes. */
  index: number;
  wnid: string;
  name: string;
  probability: number;
  logit: number;
}

/** One image's answer, and what it cost. */
export interface Classification {
  image: ImageInput;
  /** Position among the images given; 0 for a single one. */
  index: number;
  /** Most probable first. */
  top: ScoredClass[];
  /** Probability of the first class less that of the second. */
  margin: number;
  /** Of every class, when asked for. */
  logits?: Float32Array;
  /** Operating point. */
  point: number;
  /** Bytes of the bitstream. */
  bytes: number;
  /** Bits per pixel of the network's input. */
  bpp: number;
  /** Decoding and resizing the photo, ms. */
  imageMs: number;
  /** Encoder network, rounding and entropy coding, ms. */
  encodeMs: number;
  /** From sending the request to the answer, ms. */
  roundTripMs: number;
  /** In the cloud, ms: waiting, entropy decoding its batch, running the network on it. */
  queueMs: number;
  decodeMs: number;
  inferMs: number;
  bundleVersion: string;
}

/** One image of several that was not answered; the others are not affected. */
export interface Failure {
  image: ImageInput;
  index: number;
  error: Error;
}

export type Outcome = Classification | Failure;

export function isFailure(outcome: Outcome): outcome is Failure {
  return 'error' in outcome;
}

/** The cloud's refusal of one request. */
export class RequestError extends Error {
  readonly code: TransportErrorCode;
  /** ms to wait before a retry, 0 = no advice. */
  readonly retryAfterMs: number;

  constructor(code: TransportErrorCode, message: string, retryAfterMs: number) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}
