import { CodecError, decodeBitstream, parseTables, type Codec } from '@raccoon/codec';
import * as ort from 'onnxruntime-node';
import { toResult } from './result.ts';
import type { BatchDone, BatchItem, ItemOutcome, ModelFiles } from './worker-frames.ts';

/** A bundle's cloud half, ready to run: bitstreams -> symbols -> features -> logits -> results. */
export class WorkerModel {
  readonly #codecs: ReadonlyMap<string, Codec>;
  readonly #latent: ModelFiles['latent'];
  readonly #decoder: ort.InferenceSession;
  readonly #classifier: ort.InferenceSession;
  readonly #imageSymbols: number;
  /** (B, C, h, w), used again by every batch. */
  #symbols = new Int16Array(0);

  private constructor(
    codecs: ReadonlyMap<string, Codec>,
    latent: ModelFiles['latent'],
    decoder: ort.InferenceSession,
    classifier: ort.InferenceSession,
  ) {
    this.#codecs = codecs;
    this.#latent = latent;
    this.#decoder = decoder;
    this.#classifier = classifier;
    this.#imageSymbols = latent.channels * latent.height * latent.width;
  }

  /**
   * Opens the networks and runs them once: the first run allocates and plans, and nobody should wait for it.
   * @param threads of one inference
   * @throws Error
   */
  static async load(files: ModelFiles, threads: number): Promise<WorkerModel> {
    const codecs = new Map<string, Codec>(
      files.codecs.map(({ id, tables }) => [id, { id, tables: parseTables(tables) }]),
    );
    const options: ort.InferenceSession.SessionOptions = {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      // idle threads sleep instead of spinning: other workers and the sockets share these processors
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    };
    const decoder = await ort.InferenceSession.create(files.decoder, options);
    const classifier = await ort.InferenceSession.create(files.classifier, options);
    const model = new WorkerModel(codecs, files.latent, decoder, classifier);
    await model.#infer(new Int16Array(model.#imageSymbols), [0]);
    return model;
  }

  /** What is wrong with one image's bitstream is its outcome, and nothing to the others. @throws Error of a network */
  async run(items: readonly BatchItem[]): Promise<BatchDone> {
    const start = performance.now();
    if (this.#symbols.length < items.length * this.#imageSymbols) {
      this.#symbols = new Int16Array(items.length * this.#imageSymbols);
    }
    const outcomes = Array.from<ItemOutcome>({ length: items.length });
    const points: number[] = [];
    const decoded: number[] = []; // item of each image in the batch
    for (const [i, { slices }] of items.entries()) {
      try {
        const { symbols, point } = decodeBitstream(slices, this.#codecs);
        this.#symbols.set(symbols, points.length * this.#imageSymbols);
        points.push(point);
        decoded.push(i);
      } catch (error) {
        if (!(error instanceof CodecError)) throw error;
        outcomes[i] = { corrupt: { code: error.code, message: error.message } };
      }
    }
    const decodedAt = performance.now();
    if (points.length > 0) {
      const logits = await this.#infer(this.#symbols.subarray(0, points.length * this.#imageSymbols), points);
      const classes = logits.length / points.length;
      for (const [row, i] of decoded.entries()) {
        const { topK, wantLogits } = items[i]!;
        outcomes[i] = {
          result: toResult(logits.subarray(row * classes, (row + 1) * classes), topK, wantLogits),
        };
      }
    }
    return {
      kind: 'done',
      outcomes,
      decodeMs: decodedAt - start,
      inferMs: performance.now() - decodedAt,
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
