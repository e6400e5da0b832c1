import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { encodeBitstream, type CodecTables } from '@raccoon/codec';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { openService } from './cloud.ts';
import type { BatchItem, Outcome, WorkerData } from './worker-messages.ts';
import { WorkerPool } from './worker-pool.ts';

let bundle: Bundle;
let data: WorkerData;
beforeAll(async () => {
  if (!existsSync(fileURLToPath(new URL('../dist/worker.js', import.meta.url)))) {
    throw new Error('packages/cloud/dist/worker.js is missing: run `npm run build` first');
  }
  bundle = await openBundle('imagenet1k-mobilenet');
});
beforeEach(async () => {
  const { codecs, decoder, classifier, latent } = bundle.manifest;
  data = {
    codecs: [{ id: codecs[0]!.id, tables: await bundle.read(codecs[0]!.tables) }],
    decoder: await bundle.read(decoder.file),
    classifier: await bundle.read(classifier.file),
    latent,
    threads: 1,
  };
});

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function startPool(
  workers = 1,
): Promise<{ pool: WorkerPool; threads: Worker[]; freed: () => Promise<void> }> {
  const threads: Worker[] = []; // those that the pool made, which keeps them to itself
  const collect = (worker: Worker): void => void threads.push(worker);
  process.on('worker', collect);
  let onFree: (() => void) | undefined;
  const pool = new WorkerPool(data, () => onFree?.());
  cleanups.push(async () => {
    await pool.stop();
    process.off('worker', collect);
  });
  await pool.start(workers);
  /** Resolves when the pool takes a batch. */
  const freed = (): Promise<void> =>
    new Promise((resolve) => {
      onFree = () => {
        if (pool.hasFree) resolve();
      };
      onFree();
    });
  return { pool, threads, freed };
}

/** An image of small random symbols, the same for the same seed; `tables` other than the codec's make it corrupt. */
function item(seed: number, point = 0, tables: CodecTables = bundle.codec.tables): BatchItem {
  const { height: h, width: w } = bundle.manifest.latent;
  let state = seed;
  const symbols = Int16Array.from({ length: tables.channels * h * w }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 30) - 1;
  });
  const [payload] = encodeBitstream(symbols, { h, w }, point, { id: bundle.codec.id, tables });
  return { payload: payload!, topK: 3, wantLogits: true };
}

function logits(outcome: Outcome | undefined): Float32Array {
  if (!outcome || 'corrupt' in outcome) throw new Error(outcome?.corrupt ?? 'no outcome');
  return outcome.result.logits!;
}

function expectClose(actual: Float32Array, expected: Float32Array): void {
  expect(actual.length).toBe(bundle.manifest.classes.length);
  const differences = actual.map((value, i) => Math.abs(value - expected[i]!));
  expect(Math.max(...differences)).toBeLessThan(1e-4);
}

test('images of all operating points in one batch get the results that they get alone', async () => {
  const { pool } = await startPool();
  const items = [...bundle.manifest.points.keys()].map((point) => item(point + 1, point));
  const together = await pool.run(items);
  expect(together.outcomes).toHaveLength(items.length);
  for (const [i, image] of items.entries()) {
    const alone = await pool.run([image]);
    expectClose(logits(together.outcomes[i]), logits(alone.outcomes[0]));
  }
});

test('corrupt images in a batch are named, and change nothing for the good ones', async () => {
  const { pool } = await startPool();
  const { tables } = bundle.codec;
  const halfTheChannels = { ...tables, channels: tables.channels / 2 };
  const otherDistributions = { ...tables, tableOf: tables.tableOf.map((t) => (t + 1) % tables.tables.count) };
  const morePoints = {
    ...tables,
    points: tables.points + 1,
    tableOf: Uint16Array.of(...tables.tableOf, ...tables.tableOf.subarray(0, tables.channels)),
  };
  const good = [item(1), item(2)];
  const { outcomes } = await pool.run([
    item(3, 0, halfTheChannels),
    good[0]!,
    item(4, 0, otherDistributions),
    item(5, tables.points, morePoints),
    good[1]!,
  ]);
  expect(outcomes[0]).toMatchObject({ corrupt: expect.stringContaining('channel') });
  expect(outcomes[2]).toMatchObject({ corrupt: expect.stringContaining('slice 0') });
  expect(outcomes[3]).toMatchObject({ corrupt: expect.stringContaining(`point ${tables.points}`) });
  expectClose(logits(outcomes[1]), logits((await pool.run([good[0]!])).outcomes[0]));
  expectClose(logits(outcomes[4]), logits((await pool.run([good[1]!])).outcomes[0]));
});

test('a batch of nothing but corrupt images is answered', async () => {
  const { pool } = await startPool();
  const { tables } = bundle.codec;
  const { outcomes } = await pool.run([item(1, 0, { ...tables, channels: 1 })]);
  expect(outcomes).toMatchObject([{ corrupt: expect.any(String) }]);
});

test('several workers run several batches at once', async () => {
  const { pool, threads } = await startPool(2);
  expect(threads).toHaveLength(2);
  const batches = [pool.run([item(1)]), pool.run([item(2)])];
  expect(pool.hasFree).toBe(false);
  for (const { outcomes } of await Promise.all(batches)) expect(logits(outcomes[0])).toBeDefined();
  expect(pool.hasFree).toBe(true);
});

test('a worker that dies fails its batch and is replaced', async () => {
  const { pool, threads, freed } = await startPool();
  // dying already when the batch comes: one that is inside ONNX Runtime would take the process along
  const died = threads[0]!.terminate();
  await expect(pool.run([item(1)])).rejects.toMatchObject({ code: 'unavailable' });
  await died;
  expect(pool.hasFree).toBe(false);
  await freed();
  expect(threads).toHaveLength(2);
  const { outcomes } = await pool.run([item(1)]);
  expect(logits(outcomes[0])).toBeDefined();
});

test('a pool whose workers cannot be replaced gives up and refuses, instead of waiting for ever', async () => {
  const { pool, threads, freed } = await startPool();
  data.decoder = Uint8Array.of(1, 2, 3); // every replacement dies as it starts
  await threads[0]!.terminate();
  await freed();
  expect(threads).toHaveLength(4);
  await expect(pool.run([item(1)])).rejects.toMatchObject({ code: 'unavailable' });
});

test('a stop while a worker is being replaced ends that one, too', async () => {
  const { pool, threads } = await startPool();
  await threads[0]!.terminate();
  while (threads.length < 2) await once(process, 'worker');
  await pool.stop();
  expect(threads[1]!.threadId).toBe(-1); // Node: it has ended
});

test('a stop during a batch finishes it; afterwards batches are refused', async () => {
  const { pool } = await startPool();
  const batch = pool.run([item(1), item(2), item(3)]);
  const stopped = pool.stop();
  expect((await batch).outcomes.map((outcome) => 'result' in outcome)).toEqual([true, true, true]);
  await stopped;
  await expect(pool.run([item(1)])).rejects.toMatchObject({ code: 'unavailable' });
});

test('a network that cannot be loaded is an error of the start, and no worker stays behind', async () => {
  data.classifier = Uint8Array.of(1, 2, 3);
  const threads: Worker[] = [];
  const collect = (worker: Worker): void => void threads.push(worker);
  process.on('worker', collect);
  await expect(new WorkerPool(data, () => undefined).start(2)).rejects.toThrow('a worker could not start');
  process.off('worker', collect);
  expect(threads.map((worker) => worker.threadId)).toEqual([-1, -1]);
});

test('the service without sockets: a close answers what runs and refuses what waits', async () => {
  const local = await openService({ bundle, workers: 1, maxBatch: 1 });
  const context = { signal: new AbortController().signal, peer: 'test' };
  const infer = (id: number) => local.service.infer({ id, payload: item(id).payload, topK: 2 }, context);
  const running = infer(1);
  const waiting = infer(2);
  await local.close();
  expect((await running).result!.top).toHaveLength(2);
  expect(await waiting).toMatchObject({ id: 2, error: { code: 'unavailable' } });
  expect(await infer(3)).toMatchObject({ id: 3, error: { code: 'unavailable' } });
});
