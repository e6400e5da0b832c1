import type { TransportErrorCode } from '@raccoon/transport';
import type { TraceContext } from '@raccoon/transport';

/** One request on its way, as metrics, traces and logs see it. Never its content. */
export interface RequestFacts {
  /** As the client numbered it on its stream. */
  readonly id: number;
  readonly caller: string;
  /** `name@version` of the bundle that answers; empty when it was refused before that was known. */
  readonly model: string;
  readonly payloadBytes: number;
  /** That came, */
  readonly slices: number;
  /** and that the image has. */
  readonly sliceCount: number;
  readonly point: number | undefined;
  /** Pixels of the network's input, for bits per pixel. */
  readonly pixels: number;
  readonly trace: TraceContext | undefined;
}

/** How a request ended. Times in ms. */
export interface RequestEnd {
  readonly code: 'ok' | TransportErrorCode;
  /** What exactly, where the code leaves it open: a codec error's code, `queue-full`, `queue-bytes`, `queue-age`, `rate`. */
  readonly reason: string;
  readonly queueMs: number;
  readonly decodeMs: number;
  readonly inferMs: number;
  readonly totalMs: number;
}

/** A batch that a worker has run. Times in ms. */
export interface BatchFacts {
  readonly model: string;
  readonly worker: number;
  readonly images: number;
  /** Dropped when the batch was cut: cancelled, past their deadline, too old. */
  readonly dropped: number;
  readonly decodeMs: number;
  readonly inferMs: number;
  /** How often a backend was asked again. */
  readonly retries: number;
}

/** What the pipeline tells whoever watches it. Every call is synchronous and must not throw. */
export interface Observer {
  arrived(): void;
  ended(request: RequestFacts, end: RequestEnd): void;
  batch(batch: BatchFacts): void;
  worker(event: 'started' | 'died' | 'retired', worker: number): void;
}
