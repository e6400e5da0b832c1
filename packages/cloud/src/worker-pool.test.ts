import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { encodeBitstream, type CodecTables } from '@raccoon/codec';
import { afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { BatchDone, BatchFailed, BatchItem, ItemOutcome, ModelFiles } from './worker-frames.ts';
import { WorkerPool, type PoolOptions } from './worker-pool.ts';
import type { Batch, Death, WorkerProcess } from './worker-process.ts';

let bundle: Bundle;
let files: ModelFiles;
beforeAll(async () => {
  if (!existsSync(fileURLToPath(new URL('../dist/worker.js', import.meta.url)))) {
    throw new Error('packages/cloud/dist/worker.js is missing: run `npm run build` first');
  }
  bundle = await openBundle('imagenet1k-mobilenet');
});
beforeEach(async () => {
  const { codecs, decoder, classifier, latent } = bundle.manifest;
  files = {
    codecs: [{ id: codecs[0]!.id, tables: await bundle.read(codecs[0]!.tables) }],
    decoder: await bundle.read(decoder.file),
    classifier: await bundle.read(classifier.file),
    latent,
  };
});

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

const MODEL = 1;

class Pool {
  readonly events: string[] = [];
  readonly deaths: { batches: readonly Batch[]; death: Death }[] = [];
  readonly pool: WorkerPool<Batch>;
  #done = new Map<Batch, (outcome: BatchDone | BatchFailed) => void>();
  #changed: () => void = () => undefined;

  constructor(options: Partial<PoolOptions> = {}) {
    const note = (event: string): void => {
      this.events.push(event);
      this.#changed();
    };
    this.pool = new WorkerPool(
      { workers: 1, threads: 1, maxBatchMs: 60_000, ...options },
      {
        ready: () => note('ready'),
        done: (_, batch, outcome) => this.#done.get(batch)!(outcome),
        died: (_, batches, death) => {
          this.deaths.push({ batches, death });
          note('died');
        },
        retired: () => note('retired'),
        broken: (why) => note(`broken: ${why}`),
      },
    );
    cleanups.push(() => this.pool.stop());
  }

  static async start(options?: Partial<PoolOptions>): Promise<Pool> {
    const started = new Pool(options);
    await started.pool.start();
    await started.pool.load(MODEL, files);
    return started;
  }

  /** Resolves when there were `count` events of this name. */
  async event(name: string, count: number): Promise<void> {
    while (this.events.filter((event) => event.startsWith(name)).length < count) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  get worker(): WorkerProcess<Batch> {
    return [...this.pool.ready][0]!;
  }

  outcome(
    items: BatchItem[],
    { worker = this.worker, model = MODEL } = {},
  ): Promise<BatchDone | BatchFailed> {
    const batch = { model, items };
    const done = new Promise<BatchDone | BatchFailed>((resolve) => this.#done.set(batch, resolve));
    worker.run(batch);
    return done;
  }

  async run(
    items: BatchItem[],
    where?: { worker?: WorkerProcess<Batch>; model?: number },
  ): Promise<BatchDone> {
    const outcome = await this.outcome(items, where);
    if (outcome.kind === 'failed') throw new Error(outcome.message);
    return outcome;
  }
}

/** An image of small random symbols, the same for the same seed; `tables` other than the codec's make it corrupt. */
function item(seed: number, point = 0, tables: CodecTables = bundle.codec.tables): BatchItem {
  const { height: h, width: w } = bundle.manifest.latent;
  let state = seed;
  const symbols = Int16Array.from({ length: tables.channels * h * w }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 30) - 1;
  });
  const [slice] = encodeBitstream(symbols, { h, w }, point, { id: bundle.codec.id, tables });
  return { slices: [slice!], topK: 3, wantLogits: true };
}

const NOT_LOADED = { kind: 'failed', code: 'internal', message: expect.stringContaining('not loaded') };

function corrupt(reason: string, message: string): object {
  return { fault: { code: 'corrupt-bitstream', reason, message: expect.stringContaining(message) } };
}

function logits(outcome: ItemOutcome | undefined): Float32Array {
  if (!outcome?.result) throw new Error(outcome?.fault.message ?? 'no outcome');
  return outcome.result.logits!;
}

function expectClose(actual: Float32Array, expected: Float32Array): void {
  expect(actual.length).toBe(bundle.manifest.classes.length);
  const differences = actual.map((value, i) => Math.abs(value - expected[i]!));
  expect(Math.max(...differences)).toBeLessThan(1e-4);
}

/** Whether a process is there. */
function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function isGone(pid: number): Promise<void> {
  while (lives(pid)) await sleep(20);
}

describe('a batch', () => {
  test('images of all operating points get the results that they get alone', async () => {
    const cloud = await Pool.start();
    const items = [...bundle.manifest.points.keys()].map((point) => item(point + 1, point));
    const together = await cloud.run(items);
    expect(together.outcomes).toHaveLength(items.length);
    for (const [i, image] of items.entries()) {
      const alone = await cloud.run([image]);
      expectClose(logits(together.outcomes[i]), logits(alone.outcomes[0]));
    }
  });

  test('corrupt images are named, and change nothing for the good ones', async () => {
    const cloud = await Pool.start();
    const { tables } = bundle.codec;
    const halfTheChannels = { ...tables, channels: tables.channels / 2 };
    const otherDistributions = {
      ...tables,
      tableOf: tables.tableOf.map((t) => (t + 1) % tables.tables.count),
    };
    const morePoints = {
      ...tables,
      points: tables.points + 1,
      tableOf: Uint16Array.of(...tables.tableOf, ...tables.tableOf.subarray(0, tables.channels)),
    };
    const damaged = item(6);
    const slice = damaged.slices[0]!.map((byte, i) => (i === 20 ? byte ^ 1 : byte));
    const good = [item(1), item(2)];
    const { outcomes } = await cloud.run([
      item(3, 0, halfTheChannels),
      good[0]!,
      item(4, 0, otherDistributions),
      item(5, tables.points, morePoints),
      { ...damaged, slices: [slice] },
      good[1]!,
    ]);
    expect(outcomes[0]).toEqual(corrupt('channel-range', 'channel'));
    expect(outcomes[2]).toEqual(corrupt('entropy', 'slice 0'));
    expect(outcomes[3]).toEqual(corrupt('point-range', `point ${tables.points}`));
    expect(outcomes[4]).toEqual(corrupt('checksum', 'damaged'));
    expectClose(logits(outcomes[1]), logits((await cloud.run([good[0]!])).outcomes[0]));
    expectClose(logits(outcomes[5]), logits((await cloud.run([good[1]!])).outcomes[0]));
  });

  test('of nothing but corrupt images is answered', async () => {
    const cloud = await Pool.start();
    const { outcomes } = await cloud.run([item(1, 0, { ...bundle.codec.tables, channels: 1 })]);
    expect(outcomes).toMatchObject([{ fault: { reason: 'channel-range' } }]);
  });

  test('several workers run several at once, and one takes several after another', async () => {
    const cloud = await Pool.start({ workers: 2 });
    const workers = [...cloud.pool.ready];
    expect(new Set(workers.map(({ pid }) => pid)).size).toBe(2);
    const batches = [0, 1, 0, 1].map((w, i) => cloud.run([item(i)], { worker: workers[w]! }));
    expect(workers.map((worker) => worker.batches.length)).toEqual([2, 2]);
    for (const { outcomes } of await Promise.all(batches)) expect(logits(outcomes[0])).toBeDefined();
    expect(workers.map((worker) => worker.batches.length)).toEqual([0, 0]);
  });
});

describe('a worker that dies', () => {
  test.each([
    ['SIGKILL', 'killed'],
    ['SIGSEGV', 'crashed'],
    ['SIGABRT', 'crashed'],
  ] as const)('by %s gives back what it had, in order, and is replaced', async (signal, how) => {
    const cloud = await Pool.start();
    const { worker } = cloud;
    process.kill(worker.pid!, 'SIGSTOP');
    void cloud.run([item(1)]);
    void cloud.run([item(2), item(3)]);
    const had = [...worker.batches];
    process.kill(worker.pid!, signal);
    if (signal !== 'SIGKILL') process.kill(worker.pid!, 'SIGCONT');
    await cloud.event('ready', 2);
    expect(cloud.deaths).toMatchObject([{ death: { how, message: expect.stringContaining(signal) } }]);
    expect(cloud.deaths[0]!.batches).toEqual(had);
    expect(cloud.worker.pid).not.toBe(worker.pid);
    const { outcomes } = await cloud.run([item(1)]);
    expect(logits(outcomes[0])).toBeDefined();
  });

  test('of a batch that takes too long is one, too', async () => {
    const cloud = await Pool.start({ maxBatchMs: 3000 });
    process.kill(cloud.worker.pid!, 'SIGSTOP');
    void cloud.run([item(1)]);
    await cloud.event('ready', 2);
    expect(cloud.deaths).toMatchObject([{ death: { how: 'hung' }, batches: [{ model: MODEL }] }]);
    await cloud.run([item(1)]);
  });

  test('is replaced again and again, and whoever asks is told when there is none', async () => {
    const cloud = await Pool.start();
    const good = files.decoder;
    Object.assign(files, { decoder: Uint8Array.of(1, 2, 3) }); // no replacement can load it
    cloud.worker.kill();
    await cloud.event('broken', 2);
    expect(cloud.pool.ready.size).toBe(0);
    expect(cloud.events.slice(0, 4)).toEqual(['ready', 'died', expect.stringMatching(/^broken: ./), 'died']);
    Object.assign(files, { decoder: good });
    await cloud.event('ready', 2);
    await cloud.run([item(1)]);
  });
});

test('Ctrl-C and SIGTERM, which reach every process of a terminal, do not end a worker', async () => {
  const cloud = await Pool.start();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(cloud.worker.pid!, signal);
  await cloud.run([item(1)]);
  await cloud.run([item(2)]);
  expect(cloud.events).toEqual(['ready']);
});

describe('models', () => {
  test('several are there at once, in every worker, and go when they are told to', async () => {
    const cloud = await Pool.start({ workers: 2 });
    await cloud.pool.load(2, files);
    cloud.pool.unload(MODEL);
    for (const worker of cloud.pool.ready) {
      logits((await cloud.run([item(1)], { worker, model: 2 })).outcomes[0]);
      // nobody asks for one that is gone; if somebody did, it would be an error and not the end
      expect(await cloud.outcome([item(1)], { worker })).toMatchObject(NOT_LOADED);
    }
  });

  test('one that cannot be loaded is refused, and the others stay', async () => {
    const cloud = await Pool.start();
    const broken = { ...files, classifier: Uint8Array.of(1, 2, 3) };
    await expect(cloud.pool.load(2, broken)).rejects.toThrow();
    await cloud.run([item(1)]);
    cloud.worker.kill();
    await cloud.event('ready', 2); // a replacement does not try it
    await cloud.run([item(1)]);
  });

  test('a replacement has those that are there; with no worker none can be tried', async () => {
    const cloud = await Pool.start();
    await cloud.pool.load(2, files);
    cloud.pool.unload(MODEL);
    cloud.worker.kill();
    await cloud.event('died', 1);
    await expect(cloud.pool.load(3, files)).rejects.toThrow('no worker');
    await cloud.event('ready', 2);
    logits((await cloud.run([item(1)], { model: 2 })).outcomes[0]);
    for (const model of [MODEL, 3])
      expect(await cloud.outcome([item(1)], { model })).toMatchObject(NOT_LOADED);
  });
});

describe('the end', () => {
  test('lets workers finish what they have', async () => {
    const cloud = await Pool.start();
    const pid = cloud.worker.pid!;
    const batches = [cloud.run([item(1), item(2)]), cloud.run([item(3)])];
    await cloud.pool.stop();
    for (const { outcomes } of await Promise.all(batches)) logits(outcomes[0]);
    expect(cloud.events).toEqual(['ready', 'retired']);
    expect(lives(pid)).toBe(false);
  });

  test('does not wait longer than it is told to', async () => {
    const cloud = await Pool.start();
    const { worker } = cloud;
    process.kill(worker.pid!, 'SIGSTOP');
    void cloud.run([item(1)]);
    await cloud.pool.stop(50);
    expect(cloud.deaths).toMatchObject([{ batches: [{ model: MODEL }] }]);
    expect(lives(worker.pid!)).toBe(false);
  });

  test('ends a replacement that is just starting', async () => {
    const cloud = await Pool.start();
    cloud.worker.kill();
    await cloud.event('died', 1);
    await sleep(20);
    await cloud.pool.stop();
    expect(cloud.pool.ready.size).toBe(0);
  });

  test('of the service, however it comes, is the end of its workers', async () => {
    const program = `
      import { subscribe } from 'node:diagnostics_channel';
      import { openService } from '@raccoon/cloud';
      subscribe('child_process', ({ process: child }) => setImmediate(() => console.log(child.pid)));
      await openService({ bundle: 'imagenet1k-mobilenet', workers: 2 });
      console.log('serving');`;
    const service = spawn(process.execPath, ['--input-type=module', '-e', program], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void service.kill('SIGKILL'));
    let printed = '';
    service.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    while (!printed.includes('serving')) await once(service.stdout, 'data');
    const workers = printed.split('\n').slice(0, 2).map(Number);
    expect(workers.map(lives)).toEqual([true, true]);
    service.kill('SIGKILL');
    await Promise.all(workers.map(isGone));
  });
});
