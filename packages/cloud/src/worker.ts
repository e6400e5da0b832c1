// A worker thread: bitstreams -> symbols -> features -> logits -> results, one batch at a time.
// ONNX Runtime's run() blocks its thread, and a thread that is killed inside it takes the process along:
// a worker is only ever asked to stop, and stops between batches.
import { parentPort, workerData } from 'node:worker_threads';
import { decodeBitstream, parseTables, type Codec } from '@raccoon/codec';
import * as ort from 'onnxruntime-node';
import { toResult } from './result.ts';
import type { BatchItem, FromWorker, Outcome, ToWorker, WorkerData } from './worker-messages.ts';

const port = parentPort!;
const { codecs: codecFiles, decoder, classifier, latent, threads } = workerData as WorkerData;
const codecs = new Map<string, Codec>(
  codecFiles.map(({ id, tables }) => [id, { id, tables: parseTables(tables) }]),
);
const imageSymbols = latent.channels * latent.height * latent.width;

const options: ort.InferenceSession.SessionOptions = {
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  graphOptimizationLevel: 'all',
  // idle threads sleep instead of spinning: other workers and the sockets share these processors
  extra: { session: { intra_op: { allow_spinning: '0' } } },
};
const decoderSession = await ort.InferenceSession.create(decoder, options);
const classifierSession = await ort.InferenceSession.create(classifier, options);

/** symbols (B, C, h, w) int16 and point (B) -> logits (B, K). */
async function infer(symbols: Int16Array, points: number[]): Promise<Float32Array> {
  const { features } = await decoderSession.run({
    symbols: new ort.Tensor('int16', symbols, [points.length, latent.channels, latent.height, latent.width]),
    point: new ort.Tensor('int64', BigInt64Array.from(points, BigInt), [points.length]),
  });
  const { logits } = await classifierSession.run({ features: features! });
  return logits!.data as Float32Array;
}

async function runBatch(items: BatchItem[]): Promise<FromWorker> {
  const start = performance.now();
  const outcomes = Array.from<Outcome>({ length: items.length });
  const symbols = new Int16Array(items.length * imageSymbols);
  const points: number[] = [];
  const decoded: number[] = []; // item of each image in the batch
  items.forEach((item, i) => {
    try {
      const image = decodeBitstream([item.payload], codecs);
      symbols.set(image.symbols, points.length * imageSymbols);
      points.push(image.point);
      decoded.push(i);
    } catch (error) {
      // only this image's: the rest of the batch goes on
      outcomes[i] = { corrupt: (error as Error).message };
    }
  });
  const decodedAt = performance.now();
  if (points.length > 0) {
    const logits = await infer(symbols.subarray(0, points.length * imageSymbols), points);
    const classes = logits.length / points.length;
    decoded.forEach((i, row) => {
      const { topK, wantLogits } = items[i]!;
      outcomes[i] = { result: toResult(logits.slice(row * classes, (row + 1) * classes), topK, wantLogits) };
    });
  }
  return {
    kind: 'done',
    outcomes,
    decodeMs: decodedAt - start,
    inferMs: performance.now() - decodedAt,
  };
}

const send = (message: FromWorker): void => port.postMessage(message);

async function answer(items: BatchItem[]): Promise<void> {
  try {
    send(await runBatch(items));
  } catch (error) {
    send({ kind: 'failed', message: (error as Error).message });
  }
}

async function stop(): Promise<void> {
  await decoderSession.release();
  await classifierSession.release();
  port.close();
}

// The first run allocates and plans; nobody should wait for it.
await infer(new Int16Array(imageSymbols), [0]);

// One after another: a stop that comes between the two runs of a batch waits for it.
let last: Promise<void> = Promise.resolve();
port.on('message', (message: ToWorker) => {
  last = last.then(() => (message.kind === 'stop' ? stop() : answer(message.items)));
});
send({ kind: 'ready' });
