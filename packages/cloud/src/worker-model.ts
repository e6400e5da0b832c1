import type { Codec } from '@raccoon/codec';
import * as ort from 'onnxruntime-node';
import { codecsOf, DecodedBatch } from './decoded-batch.ts';
import type { BatchDone, BatchItem, ModelFiles } from './worker-frames.ts';

/** A bundle's cloud half, ready to run: bitstreams -> symbols -> features -> logits -> results. */
export class WorkerModel {
  readonly #codecs: ReadonlyMap<string, Codec>;
  readonly #latent: ModelFiles['latent'];
  readonly #decoder: ort.InferenceSession;
  readonly #classifier: ort.InferenceSession;
  readonly #imageSymbols: number;
  /** (B, C, h, w), used again by every batch. */
  #symbols = new Int16Array(0);

  private constructor(files: ModelFiles, decoder: ort.InferenceSession, classifier: ort.InferenceSession) {
    const { channels, height, width } = files.latent;
    this.#codecs = codecsOf(files);
    this.#latent = files.latent;
    this.#decoder = decoder;
    this.#classifier = classifier;
    this.#imageSymbols = channels * height * width;
  }

  /**
   * Opens the networks and runs them once: the first run allocates and plans, and nobody should wait for it.
   * @param threads of one inference
   * @throws Error
   */
  static async load(files: ModelFiles, threads: number): Promise<WorkerModel> {
    const options: ort.InferenceSession.SessionOptions = {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      // idle threads sleep instead of spinning: other workers and the sockets share these processors
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    };
    const decoder = await ort.InferenceSession.create(files.decoder, options);
    const classifier = await ort.InferenceSession.create(files.classifier, options);
    const model = new WorkerModel(files, decoder, classifier);
    await model.#infer(new Int16Array(model.#imageSymbols), [0]);
    return model;
  }

  /** @throws Error of a network */
  async run(items: readonly BatchItem[]): Promise<BatchDone> {
    const start = performance.now();
    if (this.#symbols.length < items.length * this.#imageSymbols) {
      this.#symbols = new Int16Array(items.length * this.#imageSymbols);
    }
    const batch = new DecodedBatch(items, this.#codecs, this.#imageSymbols, this.#symbols);
    const decodedAt = performance.now();
    const { symbols, points } = batch;
    const logits = points.length > 0 ? await this.#infer(symbols, points) : new Float32Array(0);
    return {
      kind: 'done',
      outcomes: batch.outcomes(logits),
      decodeMs: decodedAt - start,
      inferMs: performance.now() - decodedAt,
      retries: 0,
    };
  }

  async release(): Promise<void> {
    await this.#decoder.release();
    await this.#classifier.release();
  }

  /** symbols (B, C, h, w) int16 and point (B) -> logits (B, K). */
  async #infer(symbols: Int16Array, points: readonly number[]): Promise<Float32Array> {
    const { channels, height, width } = this.#latent;
    const { features } = await this.#decoder.run({
      symbols: new ort.Tensor('int16', symbols, [points.length, channels, height, width]),
      point: new ort.Tensor('int64', BigInt64Array.from(points, BigInt), [points.length]),
    });
    const { logits } = await this.#classifier.run({ features: features! });
    return logits!.data as Float32Array;
  }
}
