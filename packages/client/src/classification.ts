import type { EncoderChoice, ImageInput } from '@raccoon/edge';

/** One class that an image may show. */
export interface ScoredClass {
  /** Into the manifest's classes. */
  index: number;
  wnid: string;
  name: string;
  probability: number;
  logit: number;
}

/** One image's answer, and what it cost. Of one that was answered here, everything about the way to the cloud is 0. */
export interface Classification {
  image: ImageInput;
  /** Position among the images given; 0 for a single one. */
  index: number;
  /** Who answered: the cloud, or the local exit. */
  source: 'cloud' | 'edge';
  /** The local exit answered because the cloud could not in time, not because it was sure. */
  degraded: boolean;
  /** Why it was answered where it was, and at this point: one line. */
  reason?: string;
  /** Most probable first. */
  top: ScoredClass[];
  /** Probability of the first class less that of the second. */
  margin: number;
  /** Of every class, when asked for. */
  logits?: Float32Array;
  encoder: EncoderChoice;
  /** Operating point; absent when the image was not sent. */
  point?: number;
  /** Bytes of the bitstream, as far as it was sent. */
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
  /** From the moment that the image was there to its answer, ms: what a deadline is about. */
  totalMs: number;
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
