import type { ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { encodeBitstream } from '@raccoon/codec';
import { TransportError, type InferRequest, type LaterSlices } from '@raccoon/transport';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Model } from './model.ts';
import type { BatchFacts } from './observer.ts';
import { Pipeline, type Job, type Outcome, type PipelineLimits } from './pipeline.ts';

let bundle: Bundle;
beforeAll(async () => {
  bundle = await openBundle('imagenet1k-mobilenet');
});

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A bitstream, different for every `value`. */
function slice(value: number): Uint8Array {
  const { height: h, width: w } = bundle.manifest.latent;
  const symbols = new Int16Array(bundle.codec.tables.channels * h * w);
  symbols[0] = value;
  return encodeBitstream(symbols, { h, w }, 0, bundle.codec)[0]!;
}

/** The client of an image in slices, as a test wants it. */
class Sender implements LaterSlices {
  /** The margins that it was asked with. */
  readonly asked: (number | undefined)[] = [];
  readonly slices: Uint8Array[];
  #waiting: { resolve(slice: InferRequest): void; reject(error: Error): void } | undefined;
  #asked: () => void = () => undefined;

  constructor(value: number, channelEnds = [4, 9, 48]) {
    const { height: h, width: w } = bundle.manifest.latent;
    const plane = h * w;
    const symbols = new Int16Array(bundle.codec.tables.channels * plane);
    for (let i = 0; i < 12 * plane; i++) symbols[i] = ((i * value) % 7) - 3;
    this.slices = encodeBitstream(symbols, { h, w }, 0, bundle.codec, { channelEnds });
  }

  /** The image as a job that still lacks all but its first slice. */
  job(stopMargin: number): Partial<Job> {
    return { slices: [this.slices[0]!], rest: { sliceCount: this.slices.length, stopMargin, later: this } };
  }

  next(margin?: number): Promise<InferRequest> {
    this.asked.push(margin);
    this.#asked();
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Resolves once it was asked so often. */
  async wanted(times: number): Promise<void> {
    while (this.asked.length < times) {
      await new Promise<void>((resolve) => {
        this.#asked = resolve;
      });
    }
  }

  async send(sliceIndex: number, { payload = this.slices[sliceIndex]!, moreSlices = sliceIndex < 2 } = {}) {
    await this.wanted(sliceIndex);
    this.#waiting!.resolve({ id: 1, payload, sliceIndex, moreSlices });
    await turns();
  }

  async fail(error: Error): Promise<void> {
    await this.wanted(1);
    this.#waiting!.reject(error);
  }
}

/** A pipeline with real workers, which a test stops and lets go on to decide what happens meanwhile. */
class Cloud {
  readonly model: Model = { key: 'm@1', bundle };
  readonly batches: BatchFacts[] = [];
  readonly events: string[] = [];
  readonly pipeline: Pipeline;
  readonly controllers = new Map<number, AbortController>();
  onWorker: (event: string) => void = () => undefined;
  #children: ChildProcess[] = [];
  #changed: () => void = () => undefined;

  constructor(limits: Partial<PipelineLimits>, workers: number) {
    const collect = (message: unknown): void => {
      this.#children.push((message as { process: ChildProcess }).process);
    };
    subscribe('child_process', collect);
    cleanups.push(() => unsubscribe('child_process', collect));
    this.pipeline = new Pipeline({
      limits: {
        maxBatch: 8,
        maxBatchDelayMs: 0,
        maxQueue: 100,
        maxQueueBytes: 1e6,
        maxQueueMs: 60_000,
        maxBatchMs: 60_000,
        maxSliceMs: 60_000,
        ...limits,
      },
      workers,
      threads: 1,
      observer: {
        arrived: () => undefined,
        ended: () => undefined,
        batch: (batch) => {
          this.batches.push(batch);
        },
        worker: (event) => {
          this.events.push(event);
          this.onWorker(event);
          this.#changed();
        },
      },
    });
    cleanups.push(() => this.pipeline.stop(0));
  }

  static async start(limits: Partial<PipelineLimits> = {}, workers = 1): Promise<Cloud> {
    const cloud = new Cloud(limits, workers);
    await cloud.pipeline.start();
    await cloud.pipeline.load(cloud.model);
    return cloud;
  }

  infer(id: number, job: Partial<Job> = {}): Promise<Outcome> {
    const controller = new AbortController();
    this.controllers.set(id, controller);
    return this.pipeline.infer({
      model: this.model,
      slices: [slice(id)],
      topK: 1,
      wantLogits: false,
      caller: 'somebody',
      priority: 0,
      timeoutMs: 0,
      signal: controller.signal,
      ...job,
    });
  }

  /** The workers that live, by age. */
  get workers(): ChildProcess[] {
    return this.#children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
  }

  signal(signal: NodeJS.Signals, workers: ChildProcess[] = this.workers): void {
    for (const worker of workers) worker.kill(signal);
  }

  /** Stops the workers, and has the first of them begin with an image that is never finished. */
  async hold(id = 1, job: Partial<Job> = {}): Promise<Promise<Outcome>[]> {
    this.signal('SIGSTOP');
    const held = this.infer(id, job);
    await turns();
    return [held]; // not the promise alone, which would be awaited
  }

  /** Kills a worker that has been stopped. */
  crash(worker: ChildProcess, signal: NodeJS.Signals): void {
    worker.kill(signal);
    worker.kill('SIGCONT');
  }

  /** Resolves when this many workers have died, or started. */
  async saw(event: string, count: number): Promise<void> {
    while (this.events.filter((other) => other === event).length < count) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  get sizes(): number[] {
    return this.batches.map(({ images }) => images);
  }
}

/** What is ready to happen has happened. */
async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

const ok = (outcome: Outcome): string => outcome.refusal?.code ?? 'ok';
const refusal = (code: string, reason = ''): object => ({ refusal: { code, reason } });

describe('batches', () => {
  test('what comes in one turn of the event loop goes together; the next while it runs', async () => {
    const cloud = await Cloud.start({ maxBatch: 3 });
    cloud.signal('SIGSTOP');
    const answers = [1, 2].map((id) => cloud.infer(id, { caller: `caller ${id}` }));
    await turns();
    for (let id = 3; id <= 6; id++) answers.push(cloud.infer(id));
    await turns();
    expect(cloud.pipeline.stats).toMatchObject({ waiting: 4, inFlight: 2, workers: 1, imagesPerSecond: 0 });
    expect(cloud.pipeline.stats.bytes).toBe(4 * slice(3).length);
    expect(cloud.pipeline.stats.oldestMs).toBeGreaterThan(0);
    cloud.signal('SIGCONT');
    const outcomes = await Promise.all(answers);
    expect(outcomes.map(ok)).toEqual(Array(6).fill('ok'));
    for (const { result, queueMs, decodeMs, inferMs } of outcomes) {
      expect(result!.top).toHaveLength(1);
      for (const ms of [queueMs, decodeMs, inferMs]) expect(ms).toBeGreaterThan(0);
    }
    await turns();
    expect(cloud.batches).toMatchObject([
      { model: 'm@1', worker: 0, images: 2, dropped: 0 },
      { images: 3 },
      { images: 1 },
    ]);
    expect(cloud.pipeline.stats).toMatchObject({ waiting: 0, bytes: 0, oldestMs: 0, inFlight: 0 });
    expect(cloud.pipeline.stats.imagesPerSecond).toBeGreaterThan(0);
  });

  test('answers are those of the requests', async () => {
    const cloud = await Cloud.start();
    const together = await Promise.all([1, 2, 3].map((id) => cloud.infer(500 * id, { wantLogits: true })));
    for (const [i, { result }] of together.entries()) {
      const alone = await cloud.infer(500 * (i + 1), { wantLogits: true });
      const differences = alone.result!.logits!.map((logit, k) => Math.abs(logit - result!.logits![k]!));
      expect(Math.max(...differences)).toBeLessThan(1e-4);
      const other = together[(i + 1) % 3]!.result!.logits!;
      expect(
        Math.max(...alone.result!.logits!.map((logit, k) => Math.abs(logit - other[k]!))),
      ).toBeGreaterThan(1e-3);
    }
    expect(cloud.sizes[0]).toBe(3);
  });

  test('with a delay a batch waits for company until it is full', async () => {
    const cloud = await Cloud.start({ maxBatch: 2, maxBatchDelayMs: 60_000 });
    const first = cloud.infer(1);
    await turns();
    expect(cloud.pipeline.stats).toMatchObject({ waiting: 1, inFlight: 0 });
    const second = cloud.infer(2);
    expect((await Promise.all([first, second])).map(ok)).toEqual(['ok', 'ok']);
    expect(cloud.sizes).toEqual([2]);
  });

  test('a full one is handed to a worker that is nearly done, and to an idle one before that', async () => {
    const cloud = await Cloud.start({ maxBatch: 1 });
    await cloud.infer(1); // now it is known how long one takes
    const [held] = await cloud.hold(2);
    const next = cloud.infer(3);
    while (cloud.pipeline.stats.waiting > 0) await turns(); // the worker has both
    const last = cloud.infer(4);
    await turns();
    expect(cloud.pipeline.stats).toMatchObject({ waiting: 1, inFlight: 2 });
    cloud.signal('SIGCONT');
    expect((await Promise.all([held!, next, last])).map(ok)).toEqual(['ok', 'ok', 'ok']);
  });

  test('a bitstream that cannot be decoded is one request of its batch', async () => {
    const cloud = await Cloud.start();
    const damaged = slice(2).map((byte, i) => (i === 20 ? byte ^ 1 : byte));
    const outcomes = await Promise.all([
      cloud.infer(1),
      cloud.infer(2, { slices: [damaged] }),
      cloud.infer(3),
    ]);
    expect(outcomes.map(ok)).toEqual(['ok', 'corrupt-bitstream', 'ok']);
    expect(outcomes[1]).toMatchObject(refusal('corrupt-bitstream', 'checksum'));
    expect(cloud.sizes).toEqual([3]);
  });
});

describe('slices', () => {
  test('the next one is asked for until the answer is sure; nobody else waits for it', async () => {
    const cloud = await Cloud.start();
    const sender = new Sender(3);
    const answer = cloud.infer(1, { ...sender.job(2), wantLogits: true }); // no margin is above 1
    await sender.wanted(1);
    expect(cloud.pipeline.stats).toMatchObject({ waiting: 0, bytes: 0, inFlight: 0, incomplete: 1 });
    expect(cloud.pipeline.stats.incompleteBytes).toBe(sender.slices[0]!.length);
    expect(ok(await cloud.infer(2))).toBe('ok');
    await sender.send(1);
    await sender.wanted(2);
    expect(cloud.pipeline.stats.incompleteBytes).toBe(sender.slices[0]!.length + sender.slices[1]!.length);
    await sender.send(2);
    const { result, queueMs, decodeMs, inferMs } = await answer;
    expect(cloud.pipeline.stats).toMatchObject({
      waiting: 0,
      inFlight: 0,
      incomplete: 0,
      incompleteBytes: 0,
    });
    for (const ms of [queueMs, decodeMs, inferMs]) expect(ms).toBeGreaterThan(0);
    for (const margin of sender.asked) expect(margin).toBeLessThan(2);
    expect(cloud.sizes).toEqual([1, 1, 1, 1]);
    const whole = await cloud.infer(3, { slices: new Sender(3, [48]).slices, wantLogits: true });
    expect(result!.margin).toBeCloseTo(whole.result!.margin, 6);
    expect(sender.asked.at(-1)).not.toBeCloseTo(result!.margin, 6); // it has seen more since
  });

  test('an answer that is sure needs no other', async () => {
    const cloud = await Cloud.start();
    const sender = new Sender(3);
    const { result } = await cloud.infer(1, sender.job(1e-9));
    expect(sender.asked).toEqual([]);
    expect(result!.margin).toBeGreaterThan(1e-9);
    expect(cloud.pipeline.stats).toMatchObject({ incomplete: 0, incompleteBytes: 0 });
  });

  test('without a stop margin no worker sees it before the last', async () => {
    const cloud = await Cloud.start();
    for (const margin of [0, -1, Number.NaN]) {
      const sender = new Sender(3);
      const answer = cloud.infer(1, sender.job(margin));
      await sender.send(1);
      expect(cloud.pipeline.stats).toMatchObject({ inFlight: 0, incomplete: 1 });
      await sender.send(2);
      expect(ok(await answer)).toBe('ok');
      expect(sender.asked).toEqual([undefined, undefined]); // its client sends them by itself
    }
    expect(cloud.sizes).toEqual([1, 1, 1]);
  });

  test('those who wait for their clients have limits of their own, and keep nobody out', async () => {
    const cloud = await Cloud.start({ maxQueue: 2 });
    const senders = [1, 2, 3].map((value) => new Sender(value));
    const answers = senders.map((sender, i) => cloud.infer(i, sender.job(0)));
    expect(await answers[2]).toMatchObject(refusal('overloaded', 'queue-full'));
    expect(ok(await cloud.infer(4))).toBe('ok');
    // somebody with fewer of them takes the place of the last
    const other = cloud.infer(5, { ...new Sender(4).job(0), caller: 'another' });
    expect(await answers[1]).toMatchObject(refusal('overloaded', 'queue-full'));
    for (const id of [0, 5]) cloud.controllers.get(id)!.abort();
    expect((await Promise.all([answers[0]!, other])).map(ok)).toEqual(['cancelled', 'cancelled']);
    expect(cloud.pipeline.stats).toMatchObject({ incomplete: 0, incompleteBytes: 0 });
  });

  test('their bytes are counted, and grow', async () => {
    const senders = [new Sender(1), new Sender(2)];
    const [first, second] = senders.map(({ slices }) => slices[0]!.length) as [number, number];
    const cloud = await Cloud.start({ maxQueueBytes: first + second });
    const answers = senders.map((sender, i) => cloud.infer(i, sender.job(0)));
    await senders[0]!.send(1);
    expect(await answers[0]).toMatchObject(refusal('overloaded', 'queue-bytes'));
    expect(cloud.pipeline.stats).toMatchObject({ incomplete: 1, incompleteBytes: second });
    await senders[1]!.fail(new TransportError('bad-request', 'enough'));
    expect(ok(await answers[1]!)).toBe('bad-request');
  });

  test('a client that does not go on is not waited for longer than allowed', async () => {
    const cloud = await Cloud.start({ maxSliceMs: 5 });
    const message = expect.stringContaining('slice 1 has not come within 5 ms');
    const outcome = await cloud.infer(1, new Sender(1).job(0));
    expect(outcome).toMatchObject({ refusal: { code: 'deadline', reason: 'slices', message } });
    expect(await cloud.infer(2, { ...new Sender(1).job(2), timeoutMs: 1 })).toMatchObject({
      refusal: { code: 'deadline', message: 'not done within 1 ms' },
    });
    expect(cloud.pipeline.stats).toMatchObject({ incomplete: 0, incompleteBytes: 0 });
  });

  test('cancelled between two slices: what comes then is not run', async () => {
    const cloud = await Cloud.start();
    const sender = new Sender(1);
    const answer = cloud.infer(1, sender.job(2));
    await sender.wanted(1);
    cloud.controllers.get(1)!.abort();
    expect(ok(await answer)).toBe('cancelled');
    await sender.send(1);
    expect(cloud.pipeline.stats).toMatchObject({ waiting: 0, incomplete: 0, incompleteBytes: 0 });
    expect(cloud.sizes).toEqual([1]);
  });

  test('cancelled while it runs: nobody is asked for more', async () => {
    const cloud = await Cloud.start();
    const sender = new Sender(1);
    const [held] = await cloud.hold(1, sender.job(2));
    cloud.controllers.get(1)!.abort();
    expect(ok(await held!)).toBe('cancelled');
    cloud.signal('SIGCONT');
    expect(ok(await cloud.infer(2))).toBe('ok');
    expect(sender.asked).toEqual([]);
  });

  test('a slice that is wrong ends its image, and no other', async () => {
    const cloud = await Cloud.start();
    const { height: h, width: w } = bundle.manifest.latent;
    const symbols = new Int16Array(bundle.codec.tables.channels * h * w);
    const otherCodec = { ...bundle.codec, id: '0123456789ab' };
    const channelEnds = [4, 9, 48];
    const [, ofAnotherCodec] = encodeBitstream(symbols, { h, w }, 0, otherCodec, { channelEnds });
    const cases: [send: (sender: Sender) => Promise<void>, code: string, reason: string][] = [
      [
        (sender) => sender.send(1, { payload: new Sender(5).slices[1]! }), // of another image
        'corrupt-bitstream',
        'checksum',
      ],
      [(sender) => sender.send(1, { payload: ofAnotherCodec! }), 'corrupt-bitstream', 'checksum'],
      [(sender) => sender.send(1, { payload: new Uint8Array(0) }), 'corrupt-bitstream', 'truncated'],
      [(sender) => sender.send(1, { payload: sender.slices[2]! }), 'corrupt-bitstream', 'slice-order'],
      [(sender) => sender.send(1, { moreSlices: false }), 'bad-request', 'slices'], // two of three
      [(sender) => sender.fail(new TransportError('bad-request', 'twice')), 'bad-request', 'slices'],
    ];
    for (const [i, [send, code, reason]] of cases.entries()) {
      const sender = new Sender(3);
      const answers = [cloud.infer(2 * i, sender.job(2)), cloud.infer(2 * i + 1)];
      await send(sender);
      expect(await answers[0]).toMatchObject(refusal(code, reason));
      expect(ok(await answers[1]!)).toBe('ok');
    }
  });

  test('more of them than the image has', async () => {
    const cloud = await Cloud.start();
    const sender = new Sender(3);
    const answer = cloud.infer(1, sender.job(0));
    await sender.send(1);
    await sender.send(2, { moreSlices: true });
    expect(await answer).toMatchObject({
      refusal: { code: 'bad-request', message: 'more than 3 slices of an image that says it has 3' },
    });
  });

  test('a pipeline that stops does not wait for clients', async () => {
    const cloud = await Cloud.start();
    const [waits, runs] = [new Sender(1), new Sender(2)];
    const answer = cloud.infer(1, waits.job(2));
    await waits.wanted(1);
    const [held] = await cloud.hold(2, runs.job(2));
    const stopped = cloud.pipeline.stop();
    expect(ok(await answer)).toBe('unavailable');
    cloud.signal('SIGCONT');
    expect(ok(await held!)).toBe('unavailable');
    await stopped;
  });

  test('a model stays until its last image has all its slices', async () => {
    const cloud = await Cloud.start();
    const sender = new Sender(1);
    const answer = cloud.infer(1, sender.job(0));
    const unloaded = cloud.pipeline.unload('m@1');
    await sender.send(1);
    await sender.send(2);
    expect(ok(await answer)).toBe('ok');
    await unloaded;
  });
});

describe('nobody waits for it', () => {
  test('cancelled: answered at once, and not computed unless it runs already', async () => {
    const cloud = await Cloud.start();
    const [held] = await cloud.hold(1);
    const [second, third] = [cloud.infer(2), cloud.infer(3)];
    cloud.controllers.get(2)!.abort();
    cloud.controllers.get(1)!.abort();
    expect([ok(await second), ok(await held!)]).toEqual(['cancelled', 'cancelled']);
    expect(cloud.pipeline.stats).toMatchObject({ waiting: 1, inFlight: 0 });
    cloud.signal('SIGCONT');
    expect(ok(await third)).toBe('ok');
    await turns();
    expect(cloud.batches).toMatchObject([{ images: 1 }, { images: 1, dropped: 1 }]);
  });

  test('cancelled before it came: it is not even queued', async () => {
    const cloud = await Cloud.start();
    expect(ok(await cloud.infer(1, { signal: AbortSignal.abort() }))).toBe('cancelled');
    expect(cloud.batches).toEqual([]);
  });

  test('a deadline passes: answered then, also while the batch runs; what waited is not computed', async () => {
    const cloud = await Cloud.start();
    const [held] = await cloud.hold(1, { timeoutMs: 5 });
    const [impatient, patient] = [
      cloud.infer(2, { timeoutMs: 1 }),
      cloud.infer(3, { timeoutMs: 0xffff_ffff }),
    ];
    expect(await impatient).toMatchObject({
      refusal: { code: 'deadline', message: expect.stringContaining('1 ms') },
    });
    expect(ok(await held!)).toBe('deadline');
    cloud.signal('SIGCONT');
    expect(ok(await patient)).toBe('ok');
    await turns();
    expect(cloud.batches).toMatchObject([{ images: 1 }, { images: 1, dropped: 1 }]);
  });
});

describe('overload', () => {
  test('requests: refused with advice, until somebody leaves', async () => {
    const cloud = await Cloud.start({ maxQueue: 2 });
    const [held] = await cloud.hold(1);
    const waiting = [cloud.infer(2), cloud.infer(3)];
    const refused = await cloud.infer(4);
    expect(refused).toMatchObject(refusal('overloaded', 'queue-full'));
    expect(refused.refusal!.retryAfterMs).toBeGreaterThan(0);
    cloud.controllers.get(2)!.abort();
    const fifth = cloud.infer(5);
    expect(ok(await cloud.infer(6))).toBe('overloaded');
    cloud.signal('SIGCONT');
    expect((await Promise.all([held!, ...waiting, fifth])).map(ok)).toEqual(['ok', 'cancelled', 'ok', 'ok']);
  });

  test('bytes', async () => {
    const cloud = await Cloud.start({ maxQueueBytes: slice(1).length + 10 });
    const [held] = await cloud.hold(1);
    const waiting = cloud.infer(2);
    expect(await cloud.infer(3)).toMatchObject(refusal('overloaded', 'queue-bytes'));
    cloud.signal('SIGCONT');
    expect((await Promise.all([held!, waiting])).map(ok)).toEqual(['ok', 'ok']);
  });

  test('age: what has waited too long is refused then', async () => {
    const cloud = await Cloud.start({ maxQueueMs: 20 });
    const [held] = await cloud.hold(1);
    expect(await cloud.infer(2)).toMatchObject(refusal('overloaded', 'queue-age'));
    cloud.signal('SIGCONT');
    expect(ok(await held!)).toBe('ok'); // it did not wait, it ran
  });

  test('age: what would wait too long is refused at the door', async () => {
    const cloud = await Cloud.start({ maxBatch: 1, maxQueueMs: 1 });
    await cloud.infer(1);
    const [held] = await cloud.hold(2);
    void cloud.infer(3);
    let refused = false;
    void cloud.infer(4).then((outcome) => {
      refused = outcome.refusal?.reason === 'queue-age';
    });
    await Promise.resolve(); // no timer has run since
    expect(refused).toBe(true);
    cloud.signal('SIGCONT');
    expect(ok(await held!)).toBe('ok');
  });

  test('who has the most gives way, background first', async () => {
    const cloud = await Cloud.start({ maxQueue: 3 });
    const [held] = await cloud.hold(1);
    const greedy = [2, 3].map((id) => cloud.infer(id, { caller: 'greedy' }));
    const background = cloud.infer(4, { caller: 'greedy', priority: 1 });
    const modest = [5, 6].map((id) => cloud.infer(id, { caller: 'modest' }));
    expect(ok(await background)).toBe('overloaded');
    expect(ok(await modest[1]!)).toBe('overloaded'); // it has as many as greedy would then
    cloud.signal('SIGCONT');
    expect((await Promise.all([held!, ...greedy, modest[0]!])).map(ok)).toEqual(Array(4).fill('ok'));
  });
});

describe('a worker dies', () => {
  test('once: what it ran gets another one, each image alone, and what it had not begun is untouched', async () => {
    const cloud = await Cloud.start();
    cloud.signal('SIGSTOP');
    const answers = [1, 2, 3].map((id) => cloud.infer(id));
    await turns();
    answers.push(cloud.infer(4), cloud.infer(5));
    cloud.controllers.get(2)!.abort();
    cloud.signal('SIGKILL');
    expect((await Promise.all(answers)).map(ok)).toEqual(['ok', 'cancelled', 'ok', 'ok', 'ok']);
    await turns();
    expect(cloud.sizes).toEqual([1, 1, 2]);
    expect(cloud.events).toEqual(['started', 'died', 'started']);
  });

  test('with the next batch in its hands: that one is run as it was', async () => {
    const cloud = await Cloud.start({ maxBatch: 2 });
    await Promise.all([cloud.infer(1), cloud.infer(2)]);
    cloud.signal('SIGSTOP');
    const answers = [1, 2, 3, 4].map((id) => cloud.infer(id));
    while (cloud.pipeline.stats.waiting > 0) await turns(); // the worker has both batches
    cloud.crash(cloud.workers[0]!, 'SIGABRT');
    expect((await Promise.all(answers)).map(ok)).toEqual(Array(4).fill('ok'));
    await turns();
    expect(cloud.sizes).toEqual([2, 1, 1, 2]);
  });

  test.each([
    ['SIGSEGV', 'internal', 'poison'],
    ['SIGKILL', 'unavailable', ''],
  ] as const)('twice by %s of one image: %s, and nothing to the others', async (signal, code, reason) => {
    const cloud = await Cloud.start();
    const [poison] = await cloud.hold(1);
    cloud.onWorker = (event) => {
      if (event !== 'started') return;
      // the next worker, before it gets the image
      cloud.onWorker = () => undefined;
      const [next] = cloud.workers;
      next!.kill('SIGSTOP');
      setImmediate(() => cloud.crash(next!, signal));
    };
    cloud.crash(cloud.workers[0]!, signal);
    await cloud.saw('died', 1);
    const innocent = cloud.infer(2);
    expect(await poison!).toMatchObject(refusal(code, reason));
    expect(ok(await innocent)).toBe('ok');
    expect(cloud.events).toEqual(['started', 'died', 'started', 'died', 'started']);
  });

  test('of a batch that takes too long', async () => {
    const cloud = await Cloud.start({ maxBatchMs: 3000 });
    const [held] = await cloud.hold(1);
    expect(ok(await held!)).toBe('ok');
    expect(cloud.events).toEqual(['started', 'died', 'started']);
  });

  test('and no other can start: requests are refused, until one can', async () => {
    const decoder = await bundle.read(bundle.manifest.decoder.file);
    const read: Bundle['read'] = async (file) =>
      file === bundle.manifest.decoder.file ? decoder : bundle.read(file);
    const good = decoder.slice();
    const cloud = new Cloud({}, 1);
    await cloud.pipeline.start();
    await cloud.pipeline.load({ ...cloud.model, bundle: { ...bundle, read } });
    expect(cloud.pipeline.trouble).toBeUndefined();
    const [held] = await cloud.hold(1);
    const waiting = cloud.infer(2);
    decoder.fill(0); // the next worker cannot load it
    cloud.signal('SIGKILL');
    expect([ok(await held!), ok(await waiting)]).toEqual(['unavailable', 'unavailable']);
    expect(cloud.pipeline.trouble).toBeDefined();
    expect(ok(await cloud.infer(3))).toBe('unavailable');
    decoder.set(good);
    await cloud.saw('started', 2);
    expect(cloud.pipeline.trouble).toBeUndefined();
    expect(ok(await cloud.infer(4))).toBe('ok');
  });
});

describe('models', () => {
  test('several at once, each in batches of its own; one that goes answers what it has', async () => {
    const cloud = await Cloud.start();
    const other: Model = { key: 'm@2', bundle };
    await cloud.pipeline.load(other);
    const [held] = await cloud.hold(1);
    const answers = [2, 3, 4, 5].map((id) => cloud.infer(id, { model: id % 2 ? other : cloud.model }));
    const unloaded = cloud.pipeline.unload('m@2');
    cloud.signal('SIGCONT');
    expect((await Promise.all([held!, ...answers])).map(ok)).toEqual(Array(5).fill('ok'));
    await unloaded;
    expect(cloud.batches).toMatchObject([
      { model: 'm@1', images: 1 },
      { model: 'm@1', images: 2 },
      { model: 'm@2', images: 2 },
    ]);
    expect(ok(await cloud.infer(6, { model: other }))).toBe('unavailable');
    expect(ok(await cloud.infer(7))).toBe('ok');
    await cloud.pipeline.unload('m@2'); // and nothing happens
  });

  test('one that cannot be loaded is an error of its own', async () => {
    const cloud = await Cloud.start();
    const bad = { ...bundle, read: async () => Uint8Array.of(1, 2, 3) };
    await expect(cloud.pipeline.load({ key: 'bad', bundle: bad })).rejects.toThrow();
    expect(ok(await cloud.infer(1))).toBe('ok');
  });
});

describe('the end', () => {
  test('what runs is answered, what waits is refused, and so is what comes', async () => {
    const cloud = await Cloud.start();
    const [held] = await cloud.hold(1);
    const waiting = cloud.infer(2);
    const stopped = cloud.pipeline.stop();
    expect(ok(await waiting)).toBe('unavailable');
    expect(ok(await cloud.infer(3))).toBe('unavailable');
    cloud.signal('SIGCONT');
    expect(ok(await held!)).toBe('ok');
    await stopped;
    expect(cloud.workers).toEqual([]);
    expect(cloud.events).toEqual(['started', 'retired']);
  });

  test('at once: what runs is refused, too', async () => {
    const cloud = await Cloud.start();
    const [held] = await cloud.hold(1);
    await cloud.pipeline.stop(0);
    expect(ok(await held!)).toBe('unavailable');
    expect(cloud.workers).toEqual([]);
  });

  test('a start that fails leaves nothing behind', async () => {
    const cloud = new Cloud({ maxBatchMs: 1 }, 2); // no process starts that fast
    await expect(cloud.pipeline.start()).rejects.toThrow('a worker could not start');
    expect(cloud.workers).toEqual([]);
  });
});
