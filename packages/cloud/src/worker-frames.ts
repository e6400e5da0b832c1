import type { Result, TransportErrorCode } from '@raccoon/transport';
import type { RemoteModel } from './backend-target.ts';

// What service and worker say to each other over a socket pair: a length (uint32), a kind (uint8), and a body, numbers
// little-endian. Written by hand because it is three times as cheap as structured clones (docs/decisions/0009).

/** One image to infer. */
export interface BatchItem {
  /** The bitstream, or the first slices of it. */
  readonly slices: readonly Uint8Array[];
  readonly topK: number;
  readonly wantLogits: boolean;
}

/** Why there is no result. */
export interface WorkerFault {
  readonly code: TransportErrorCode;
  /** What exactly: a codec error's code, say. */
  readonly reason: string;
  readonly message: string;
}

/** One per item, in order: a result, or what is wrong with this image alone. */
export type ItemOutcome =
  | { readonly result: Result; readonly fault?: undefined }
  | { readonly fault: WorkerFault; readonly result?: undefined };

/** The parts of a bundle that a worker needs; bytes as the bundle verified them. */
export interface ModelFiles {
  /** `tables.bin` of every accepted codec. */
  readonly codecs: readonly { readonly id: string; readonly tables: Uint8Array }[];
  readonly decoder: Uint8Array;
  readonly classifier: Uint8Array;
  readonly latent: { readonly channels: number; readonly height: number; readonly width: number };
  /** Who runs the networks, if it is not the worker itself; such a worker gets no networks. */
  readonly remote?: RemoteModel;
}

/** `model`: a number that the service chose when it loaded the model. */
export type ToWorker =
  | { readonly kind: 'load'; readonly model: number; readonly threads: number; readonly files: ModelFiles }
  | { readonly kind: 'unload'; readonly model: number }
  | {
      readonly kind: 'batch';
      readonly id: number;
      readonly model: number;
      readonly items: readonly BatchItem[];
    };

export type FromWorker =
  | { readonly kind: 'started' }
  | { readonly kind: 'loaded'; readonly model: number }
  | { readonly kind: 'not-loaded'; readonly model: number; readonly message: string }
  | (BatchDone & { readonly id: number })
  | (BatchFailed & { readonly id: number });

/** Times in ms, of the whole batch. */
export interface BatchDone {
  readonly kind: 'done';
  readonly outcomes: readonly ItemOutcome[];
  readonly decodeMs: number;
  readonly inferMs: number;
  /** How often a backend was asked again. */
  readonly retries: number;
}

/** A whole batch without results: a network or a backend failed. */
export interface BatchFailed extends WorkerFault {
  readonly kind: 'failed';
}

const toWorkerKinds = ['load', 'unload', 'batch'] as const;
const fromWorkerKinds = ['started', 'loaded', 'not-loaded', 'done', 'failed'] as const;

/** Bytes before the kind. */
export const LENGTH_BYTES = 4;
const CLASS_BYTES = 16;

export function encodeToWorker(message: ToWorker): Buffer {
  const kind = toWorkerKinds.indexOf(message.kind);
  if (message.kind === 'batch') return encodeBatch(kind, message);
  if (message.kind === 'unload') return encodeJson(kind, { model: message.model });
  const { model, threads, files } = message;
  const { codecs, decoder, classifier, latent, remote } = files;
  const blobs = [...codecs.map(({ tables }) => tables), decoder, classifier];
  const sizes = blobs.map(({ length }) => length);
  return encodeJson(
    kind,
    { model, threads, latent, remote, codecs: codecs.map(({ id }) => id), sizes },
    blobs,
  );
}

/** `frame`: from the kind on. What comes out are views of it. */
export function decodeToWorker(frame: Buffer): ToWorker {
  const kind = toWorkerKinds[frame[0]!]!;
  if (kind === 'batch') return decodeBatch(frame);
  const [head, blobs] = decodeJson<LoadHead>(frame);
  if (kind === 'unload') return { kind, model: head.model };
  const { model, threads, latent, remote, codecs, sizes } = head;
  let at = 0;
  const parts = sizes.map((size) => blobs.subarray(at, (at += size)));
  const [decoder, classifier] = parts.slice(codecs.length) as [Buffer, Buffer];
  const tables = codecs.map((id, i) => ({ id, tables: parts[i]! }));
  return {
    kind,
    model,
    threads,
    files: { codecs: tables, decoder, classifier, latent, ...(remote && { remote }) },
  };
}

interface LoadHead {
  model: number;
  threads: number;
  latent: ModelFiles['latent'];
  remote?: RemoteModel;
  codecs: string[];
  sizes: number[];
}

export function encodeFromWorker(message: FromWorker): Buffer {
  const kind = fromWorkerKinds.indexOf(message.kind);
  return message.kind === 'done' ? encodeDone(kind, message) : encodeJson(kind, message);
}

/** `frame`: from the kind on. */
export function decodeFromWorker(frame: Buffer): FromWorker {
  return fromWorkerKinds[frame[0]!] === 'done' ? decodeDone(frame) : decodeJson<FromWorker>(frame)[0];
}

/** Puts frames together again from what a socket delivers. */
export class FrameReader {
  #rest: Buffer | undefined;

  /** Calls `take` with every frame that is complete, from its kind on. */
  push(chunk: Buffer, take: (frame: Buffer) => void): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    while (at + LENGTH_BYTES <= bytes.length) {
      const end = at + LENGTH_BYTES + bytes.readUInt32LE(at);
      if (end > bytes.length) break;
      take(bytes.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : undefined;
  }
}

/** A frame with room for `bytes` after its kind. */
function frameOf(kind: number, bytes: number): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + 1 + bytes);
  frame.writeUInt32LE(1 + bytes, 0);
  frame[LENGTH_BYTES] = kind;
  return frame;
}

function encodeJson(kind: number, head: object, blobs: readonly Uint8Array[] = []): Buffer {
  const json = Buffer.from(JSON.stringify(head));
  const bytes = blobs.reduce((sum, { length }) => sum + length, 0);
  const frame = frameOf(kind, 4 + json.length + bytes);
  let at = frame.writeUInt32LE(json.length, LENGTH_BYTES + 1);
  for (const part of [json, ...blobs]) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

function decodeJson<T>(frame: Buffer): [T, Buffer] {
  const end = 5 + frame.readUInt32LE(1);
  return [JSON.parse(frame.toString('utf8', 5, end)) as T, frame.subarray(end)]; // our own process wrote it
}

// batch: id, model, images (uint32 each); for each image topK (uint32), wantLogits, slices (uint8 each), bytes of each slice
// (uint32); then the slices.
function encodeBatch(kind: number, { id, model, items }: ToWorker & { readonly kind: 'batch' }): Buffer {
  let bytes = 12;
  for (const { slices } of items) {
    bytes += 6;
    for (const slice of slices) bytes += 4 + slice.length;
  }
  const frame = frameOf(kind, bytes);
  let at = frame.writeUInt32LE(id, LENGTH_BYTES + 1);
  at = frame.writeUInt32LE(model, at);
  at = frame.writeUInt32LE(items.length, at);
  for (const { slices, topK, wantLogits } of items) {
    at = frame.writeUInt32LE(topK, at);
    frame[at++] = wantLogits ? 1 : 0;
    frame[at++] = slices.length;
    for (const slice of slices) at = frame.writeUInt32LE(slice.length, at);
  }
  for (const { slices } of items) {
    for (const slice of slices) {
      frame.set(slice, at);
      at += slice.length;
    }
  }
  return frame;
}

function decodeBatch(frame: Buffer): ToWorker {
  const id = frame.readUInt32LE(1);
  const model = frame.readUInt32LE(5);
  const heads: { topK: number; wantLogits: boolean; sizes: number[] }[] = [];
  let at = 13;
  for (let i = frame.readUInt32LE(9); i > 0; i--) {
    const topK = frame.readUInt32LE(at);
    const wantLogits = frame[at + 4] === 1;
    const slices = frame[at + 5]!;
    at += 6;
    const sizes: number[] = [];
    for (let s = 0; s < slices; s++, at += 4) sizes.push(frame.readUInt32LE(at));
    heads.push({ topK, wantLogits, sizes });
  }
  const items = heads.map(({ topK, wantLogits, sizes }) => ({
    slices: sizes.map((size) => frame.subarray(at, (at += size))),
    topK,
    wantLogits,
  }));
  return { kind: 'batch', id, model, items };
}

// done: decodeMs, inferMs (float64 each), id, retries, images (uint32 each); for each image classes (uint32) and
//   a result: margin (float64), each class's index (uint32), logit (float32), probability (float64); logits (uint32), float32 each;
//   no classes, a fault: its bytes (uint32), JSON.
function encodeDone(kind: number, done: BatchDone & { readonly id: number }): Buffer {
  const { id, outcomes, decodeMs, inferMs, retries } = done;
  let bytes = 28;
  const texts = outcomes.map(({ result, fault }) => {
    if (result) {
      bytes += 16 + CLASS_BYTES * result.top.length + 4 * (result.logits?.length ?? 0);
      return undefined;
    }
    const text = Buffer.from(JSON.stringify(fault));
    bytes += 8 + text.length;
    return text;
  });
  const frame = frameOf(kind, bytes);
  let at = frame.writeDoubleLE(decodeMs, LENGTH_BYTES + 1);
  at = frame.writeDoubleLE(inferMs, at);
  at = frame.writeUInt32LE(id, at);
  at = frame.writeUInt32LE(retries, at);
  at = frame.writeUInt32LE(outcomes.length, at);
  for (const [i, { result }] of outcomes.entries()) {
    if (result) {
      at = writeResult(frame, at, result);
      continue;
    }
    const text = texts[i]!;
    at = frame.writeUInt32LE(0, at);
    at = frame.writeUInt32LE(text.length, at);
    frame.set(text, at);
    at += text.length;
  }
  return frame;
}

function writeResult(frame: Buffer, start: number, { top, margin, logits }: Result): number {
  let at = frame.writeUInt32LE(top.length, start);
  at = frame.writeDoubleLE(margin, at);
  for (const { index, logit, probability } of top) {
    at = frame.writeUInt32LE(index, at);
    at = frame.writeFloatLE(logit, at);
    at = frame.writeDoubleLE(probability, at);
  }
  at = frame.writeUInt32LE(logits?.length ?? 0, at);
  if (!logits) return at;
  frame.set(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength), at); // one machine, one byte order
  return at + logits.byteLength;
}

function decodeDone(frame: Buffer): BatchDone & { readonly id: number } {
  const outcomes: ItemOutcome[] = [];
  let at = 29;
  for (let i = frame.readUInt32LE(25); i > 0; i--) {
    const classes = frame.readUInt32LE(at);
    at += 4;
    if (classes === 0) {
      const end = at + 4 + frame.readUInt32LE(at);
      outcomes.push({ fault: JSON.parse(frame.toString('utf8', at + 4, end)) as WorkerFault });
      at = end;
      continue;
    }
    const margin = frame.readDoubleLE(at);
    at += 8;
    const top = [];
    for (let k = 0; k < classes; k++, at += CLASS_BYTES) {
      const index = frame.readUInt32LE(at);
      top.push({ index, probability: frame.readDoubleLE(at + 8), logit: frame.readFloatLE(at + 4) });
    }
    const count = frame.readUInt32LE(at);
    at += 4;
    if (count === 0) {
      outcomes.push({ result: { top, margin } });
    } else {
      const bytes = Uint8Array.from(frame.subarray(at, (at += 4 * count))); // a copy, which is aligned
      outcomes.push({ result: { top, margin, logits: new Float32Array(bytes.buffer) } });
    }
  }
  return {
    kind: 'done',
    id: frame.readUInt32LE(17),
    outcomes,
    decodeMs: frame.readDoubleLE(1),
    inferMs: frame.readDoubleLE(9),
    retries: frame.readUInt32LE(21),
  };
}
