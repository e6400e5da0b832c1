import type { Precision } from '@raccoon/bundle';
import type { LinkStats, QueueStats } from './stats.ts';

/** What the user allows; what is absent is not limited. */
export interface Limits {
  /** From the moment an image is there to its answer, ms. An answer that comes later is worth nothing. */
  readonly deadlineMs?: number;
  /** Payload sent, a mean over seconds. */
  readonly bytesPerSecond?: number;
  /** Share of one processor that encoding may take, 0 to 1 (more with several threads), a mean over seconds. */
  readonly cpuShare?: number;
}

/** One of the bundle's encoder networks. The rate level is chosen after it ran: it is a gain on the same latent. */
export interface EncoderChoice {
  /** Residual blocks. */
  readonly n: number;
  readonly precision: Precision;
}

/** What is known when an image has to be decided on. Times are ms on one monotonic clock. */
export interface Situation {
  readonly now: number;
  /** Since the image was there. */
  readonly elapsedMs: number;
  readonly link: LinkStats;
  readonly queue: QueueStats;
}

/** What the encoder network showed of an image. */
export interface Sighting {
  readonly encoder: EncoderChoice;
  /** Decoding, resizing and the encoder network of this image, ms. */
  readonly encodeMs: number;
  /** The local exit's calibrated probabilities, where there is an exit: of its first class, and that less the second's. */
  readonly exit?: { readonly confidence: number; readonly margin: number };
  /** Bytes of the bitstream at a point of this encoder, nearly: from its symbols, without coding them. */
  bytesAt(point: number): number;
}

/** What happens to an image, and why: one line, with the numbers that decided. */
export type Action = { readonly reason: string } & (
  | { readonly kind: 'send'; readonly point: number }
  /**
   * Answered by the local exit. `degraded`: because there was no way to the cloud within the limits, not because it was sure.
   * `point`: the one that would have been sent, for a policy that learns from that.
   */
  | { readonly kind: 'local'; readonly degraded: boolean; readonly point?: number }
  /** No local exit, and no way to the cloud in time. */
  | { readonly kind: 'drop' }
);

/** What became of an image: once for each that was decided on. */
export interface Feedback {
  readonly now: number;
  readonly action: Action;
  readonly encoder: EncoderChoice;
  readonly encodeMs: number;
  /** Bytes sent; 0 when answered here. */
  readonly bytes: number;
  /** Whether the answer came within the deadline. */
  readonly inTime: boolean;
  /** From the decision to the cloud's answer, ms; absent when there was none. */
  readonly answerMs?: number;
  /** Probability of the first class, in the local exit's answer and in the cloud's. */
  readonly exitConfidence?: number;
  readonly cloudConfidence?: number;
}

/** Chooses (n, q), and edge or cloud, for each image. Pure but for its own state; it reads no clock and no socket. */
export interface Policy {
  readonly name: string;
  /** Those that it may choose, to be loaded before the first image. Absent: each is loaded at its first use. */
  readonly encoders?: readonly EncoderChoice[];
  /** Before the encoder runs: which one. */
  chooseEncoder(situation: Situation): EncoderChoice;
  /** After it ran: what to send, if anything. */
  chooseAction(situation: Situation, sighting: Sighting): Action;
  observe(feedback: Feedback): void;
  /** What it has learned, as JSON. */
  save(): unknown;
  /** @throws EdgeError `controller-state` when it is not what `save` of this policy gave for this bundle */
  restore(state: unknown): void;
}
