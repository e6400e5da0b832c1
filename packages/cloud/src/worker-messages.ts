import type { Result } from '@raccoon/transport';

/** What a worker is started with; everything verified by the main thread. */
export interface WorkerData {
  /** `tables.bin` of every accepted codec. */
  codecs: { id: string; tables: Uint8Array }[];
  decoder: Uint8Array;
  classifier: Uint8Array;
  latent: { channels: number; height: number; width: number };
  /** Threads of one inference. */
  threads: number;
}

export interface BatchItem {
  /** The bitstream: one slice. */
  payload: Uint8Array;
  topK: number;
  wantLogits: boolean;
}

export type ToWorker = { kind: 'batch'; items: BatchItem[] } | { kind: 'stop' };

/** One outcome per item, in order: a result, or why its bitstream cannot be decoded. */
export type Outcome = { result: Result } | { corrupt: string };

export type FromWorker =
  | { kind: 'ready' }
  | { kind: 'done'; outcomes: Outcome[]; decodeMs: number; inferMs: number }
  | { kind: 'failed'; message: string };
