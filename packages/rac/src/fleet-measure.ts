import type { Bundle } from '@raccoon/bundle';
import { DEFAULTS, startCloud } from '@raccoon/cloud';
import { openEdge } from '@raccoon/edge/node';
import { PROTOCOL_VERSION, type InferStream } from '@raccoon/transport';
import { connectGrpc } from '@raccoon/transport/node';
import type { BatchTime } from './fleet-service-time.ts';
import { mulberry32 } from './random.ts';
import { mean } from './ranking.ts';

export interface MeasureOptions {
  /** Photos to send; default: a made one, which costs about as many bytes as a photo rich in detail. */
  readonly photos?: readonly string[];
  /** Worker processes; default: as the service chooses. */
  readonly workers?: number;
  /** Images in a batch, at most; default: the service's. */
  readonly maxBatch?: number;
  /** For all batch sizes together, s. */
  readonly seconds: number;
}

export interface MeasuredService {
  readonly workers: number;
  /** Of the requests, mean. */
  readonly payloadBytes: number;
  /** By rising number of images. */
  readonly batches: readonly (BatchTime & { readonly count: number })[];
}

/** A batch size with fewer measurements than that is not believed. */
const FEWEST = 3;

/**
 * What the workers of the real service take for batches, on this machine, now: the service listens on a free port, a client
 * keeps 1, 2, 4 ... requests a worker under way, and answers with the same decode and inference times were one batch.
 */
export async function measureServiceTimes(bundle: Bundle, options: MeasureOptions): Promise<MeasuredService> {
  const { maxBatch = DEFAULTS.maxBatch, workers, seconds } = options;
  const payloads = await encode(bundle, options.photos);
  const cloud = await startCloud({
    bundle,
    listen: '127.0.0.1:0',
    maxBatch,
    maxInFlight: 1024,
    ...(workers !== undefined && { workers }),
  });
  const transport = connectGrpc(cloud.address);
  const times = new Map<number, number[]>();
  try {
    const hello = { protocolMin: PROTOCOL_VERSION, protocolMax: PROTOCOL_VERSION, codecIds: [] };
    const stream = await transport.openStream({ ...hello, client: 'raccoon plan-fleet' });
    const underWay = Array.from({ length: Math.ceil(Math.log2(maxBatch)) + 1 }, (_, i) => 2 ** i).concat(
      2 * maxBatch,
    );
    const answers = stream.responses[Symbol.asyncIterator]();
    for (const requests of underWay) {
      const concurrency = requests * cloud.workers; // one batch runs and one waits: full ones at twice maxBatch
      await load(stream, answers, payloads, concurrency, (1000 * seconds) / underWay.length, times);
    }
    stream.end();
  } finally {
    await transport.close();
    await cloud.close();
  }
  return {
    workers: cloud.workers,
    payloadBytes: mean(payloads.map(({ length }) => length)),
    batches: [...times]
      .filter(([, ms]) => ms.length >= FEWEST)
      .toSorted(([a], [b]) => a - b)
      .map(([images, ms]) => ({ images, ...meanAndSd(ms), count: ms.length })),
  };
}

/** Keeps `concurrency` requests under way for `ms`, and adds what batches took, by their size. */
async function load(
  stream: InferStream,
  answers: AsyncIterator<{ readonly decodeMs: number; readonly inferMs: number; readonly error?: unknown }>,
  payloads: readonly Uint8Array[],
  concurrency: number,
  ms: number,
  times: Map<number, number[]>,
): Promise<void> {
  const batches = new Map<string, number>();
  const start = performance.now();
  let id = 0;
  let open = 0;
  const send = async (): Promise<void> => {
    open++;
    await stream.send({ id: ++id, payload: payloads[id % payloads.length]!, topK: 1 });
  };
  await Promise.all(Array.from({ length: concurrency }, send));
  while (open > 0) {
    const { value, done } = await answers.next();
    if (done || value.error) throw new Error('the service that was to be measured refuses requests');
    open--;
    const key = `${value.decodeMs} ${value.inferMs}`;
    if (performance.now() - start > ms / 4) batches.set(key, (batches.get(key) ?? 0) + 1); // the first are warm-up
    if (performance.now() - start < ms || batches.size < FEWEST) await send();
  }
  for (const [key, images] of batches) {
    const [decodeMs, inferMs] = key.split(' ').map(Number) as [number, number];
    const of = times.get(images) ?? [];
    times.set(images, of);
    of.push(decodeMs + inferMs);
  }
}

async function encode(bundle: Bundle, photos: readonly string[] | undefined): Promise<Uint8Array[]> {
  const edge = await openEdge(bundle);
  const payloads = [];
  for (const image of photos ?? [made(bundle)]) payloads.push((await edge.encode(image)).slices[0]!);
  await edge.close();
  return payloads;
}

/** Seeded squares of 8 x 8 pixels, each of one colour. */
function made({ manifest }: Bundle): { data: Uint8Array; width: number; height: number } {
  const { width, height } = manifest.input;
  const random = mulberry32(1);
  const across = Math.ceil(width / 8);
  const colours = Uint8Array.from({ length: 3 * across * Math.ceil(height / 8) }, () => 256 * random());
  const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    return colours[3 * (across * (y >> 3) + (x >> 3)) + (i % 3)]!;
  });
  return { data, width, height };
}

function meanAndSd(values: readonly number[]): { ms: number; sdMs: number } {
  const ms = mean(values);
  return { ms, sdMs: Math.sqrt(mean(values.map((value) => (value - ms) ** 2))) };
}
