import type { Codec } from '@raccoon/codec';
import { TransportError, type TransportErrorCode } from '@raccoon/transport';
import type { OipClient, OipOutput } from '@raccoon/transport/node';
import { nameOf, type RemoteModel } from './backend-target.ts';
import { codecsOf, DecodedBatch } from './decoded-batch.ts';
import type { BatchDone, BatchItem, ModelFiles, WorkerFault } from './worker-frames.ts';

/** How long a second try waits for a connection, ms: a backend that restarts at once is found again. */
const RECONNECT_MS = 1000;

/** Why a backend has no logits for a batch. */
export class BackendFailure extends Error implements WorkerFault {
  readonly code: TransportErrorCode;
  readonly reason: string;

  constructor(code: TransportErrorCode, reason: string, message: string) {
    super(message);
    this.name = 'BackendFailure';
    this.code = code;
    this.reason = reason;
  }
}

/** A bundle's cloud half, whose networks another server runs: bitstreams -> symbols -> (there) -> logits -> results. */
export class BackendModel {
  readonly #codecs: ReadonlyMap<string, Codec>;
  readonly #latent: ModelFiles['latent'];
  readonly #remote: RemoteModel;
  readonly #client: OipClient;
  readonly #imageSymbols: number;

  constructor(files: ModelFiles & { readonly remote: RemoteModel }, client: OipClient) {
    const { channels, height, width } = files.latent;
    this.#codecs = codecsOf(files);
    this.#latent = files.latent;
    this.#remote = files.remote;
    this.#client = client;
    this.#imageSymbols = channels * height * width;
  }

  /** @throws BackendFailure */
  async run(items: readonly BatchItem[]): Promise<BatchDone> {
    const start = performance.now();
    const room = new Int16Array(items.length * this.#imageSymbols); // its own: other batches are under way
    const batch = new DecodedBatch(items, this.#codecs, this.#imageSymbols, room);
    const decodedAt = performance.now();
    const { logits, retries } = await this.#infer(batch);
    return {
      kind: 'done',
      outcomes: batch.outcomes(logits),
      decodeMs: decodedAt - start,
      inferMs: performance.now() - decodedAt,
      retries,
    };
  }

  release(): void {
    this.#client.close();
  }

  /** Asks a second time when the backend was not there, or went: inference changes nothing, so that is safe. */
  async #infer(batch: DecodedBatch): Promise<{ logits: Float32Array; retries: number }> {
    if (batch.points.length === 0) return { logits: new Float32Array(0), retries: 0 };
    const { timeoutMs } = this.#remote;
    const end = performance.now() + timeoutMs;
    try {
      return { logits: await this.#ask(batch, timeoutMs), retries: 0 };
    } catch (error) {
      const left = end - performance.now();
      if (!(error instanceof TransportError) || !isGone(error) || left <= 0) throw this.#failure(error);
      try {
        await this.#client.connected(Math.min(RECONNECT_MS, left));
        return { logits: await this.#ask(batch, Math.max(1, end - performance.now())), retries: 1 };
      } catch (again) {
        throw this.#failure(again);
      }
    }
  }

  /** symbols (n, C, h, w) int16 and point (n) -> logits (n, K). */
  async #ask({ symbols, points }: DecodedBatch, timeoutMs: number): Promise<Float32Array> {
    const { channels, height, width } = this.#latent;
    const { model, classes } = this.#remote;
    const images = points.length;
    const outputs = await this.#client.infer(
      model,
      [
        {
          name: 'symbols',
          datatype: 'INT16',
          shape: [images, channels, height, width],
          data: bytesOf(symbols),
        },
        {
          name: 'point',
          datatype: 'INT64',
          shape: [images],
          data: bytesOf(BigInt64Array.from(points, BigInt)),
        },
      ],
      ['logits'],
      timeoutMs,
    );
    return logitsOf(outputs, images, classes);
  }

  /** The backend's trouble in our words: what our client is told must not depend on whose server that is. */
  #failure(error: unknown): BackendFailure {
    if (error instanceof BackendFailure)
      return new BackendFailure(error.code, error.reason, this.#said(error.message));
    const { code, message } = TransportError.from(error);
    if (isGone({ code }))
      return new BackendFailure('unavailable', 'backend-gone', this.#said(`is not there: ${message}`));
    if (code === 'deadline') {
      const { timeoutMs } = this.#remote;
      return new BackendFailure(
        'unavailable',
        'backend-timeout',
        this.#said(`has not answered within ${timeoutMs} ms`),
      );
    }
    if (code === 'overloaded') {
      return new BackendFailure('overloaded', 'backend-overloaded', this.#said(`takes no more: ${message}`));
    }
    return new BackendFailure('internal', 'backend-refused', this.#said(`refuses: ${message}`));
  }

  #said(what: string): string {
    return `${nameOf(this.#remote)} ${what}`;
  }
}

/** Nobody there, a connection that broke, a model that is being loaded: another moment, or another server, may do. */
function isGone({ code }: Pick<TransportError, 'code'>): boolean {
  return code === 'unavailable' || code === 'not-found' || code === 'cancelled';
}

/** @throws BackendFailure: an answer that nothing can be made of */
function logitsOf(outputs: readonly OipOutput[], images: number, classes: number): Float32Array {
  const output = outputs.find(({ name }) => name === 'logits');
  if (!output) {
    const named = outputs.map(({ name }) => name).join(', ') || 'nothing';
    throw nonsense(`answers with ${named}, without logits`);
  }
  const { datatype, shape, floats } = output;
  if (datatype !== 'FP32' || shape.length !== 2 || shape[0] !== images || shape[1] !== classes) {
    throw nonsense(`answers with ${datatype} [${shape.join(', ')}], not FP32 [${images}, ${classes}]`);
  }
  if (floats?.length !== images * classes) {
    throw nonsense(
      `answers with ${floats?.length ?? 'no'} logits, and says that there are ${images} times ${classes}`,
    );
  }
  return floats;
}

function nonsense(message: string): BackendFailure {
  return new BackendFailure('internal', 'backend-answer', message);
}

/** This machine and the protocol are little-endian. */
function bytesOf({ buffer, byteOffset, byteLength }: Int16Array | BigInt64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
