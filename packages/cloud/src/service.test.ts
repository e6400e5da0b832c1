import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { encodeBitstream, type Codec } from '@raccoon/codec';
import { TransportError, type InferRequest, type InferResponse } from '@raccoon/transport';
import { beforeAll, describe, expect, test } from 'vitest';
import type { BatchLimits } from './queue.ts';
import { CloudService } from './service.ts';
import type { BatchItem, Outcome } from './worker-messages.ts';
import type { BatchOutcome } from './worker-pool.ts';

let bundle: Bundle;
beforeAll(async () => {
  bundle = await openBundle('imagenet1k-mobilenet');
});

/** One worker whose batches end when the test says so. */
class ManualRunner {
  readonly batches: BatchItem[][] = [];
  #running: { resolve(outcome: BatchOutcome): void; reject(error: Error): void } | undefined;
  freed: () => void = () => undefined;

  get hasFree(): boolean {
    return !this.#running;
  }

  run(items: BatchItem[]): Promise<BatchOutcome> {
    this.batches.push(items);
    return new Promise((resolve, reject) => {
      this.#running = { resolve, reject };
    });
  }

  /** Ends the running batch. */
  finish(outcomeOf: (item: BatchItem) => Outcome = classified): void {
    const running = this.#running!;
    this.#running = undefined;
    running.resolve({ outcomes: this.batches.at(-1)!.map(outcomeOf), decodeMs: 1, inferMs: 2 });
    this.freed();
  }

  fail(error: Error): void {
    const running = this.#running!;
    this.#running = undefined;
    running.reject(error);
    this.freed();
  }
}

/** A result that tells which payload it is for. */
function classified(item: BatchItem): Outcome {
  return { result: { top: [{ index: checksum(item.payload), probability: 1, logit: 1 }], margin: 1 } };
}

function checksum(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => (31 * sum + byte) >>> 0, 7);
}

function setUp(limits: Partial<BatchLimits> = {}) {
  const runner = new ManualRunner();
  const service = new CloudService(bundle, runner, {
    maxBatch: 4,
    maxBatchDelayMs: 0,
    maxQueue: 3,
    ...limits,
  });
  runner.freed = () => service.workerFreed();
  const controllers = new Map<number, AbortController>();
  const infer = (id: number, request: Partial<InferRequest> = {}): Promise<InferResponse> => {
    const controller = new AbortController();
    controllers.set(id, controller);
    return service.infer(
      { id, payload: payload(id), ...request },
      { signal: controller.signal, peer: 'test' },
    );
  };
  const cancel = (id: number): void => controllers.get(id)!.abort();
  return { runner, service, infer, cancel };
}

/** A good bitstream, different for every `value`; with another codec or shape where a test says so. */
function payload(value: number, changes: Partial<Codec & { h: number; w: number }> = {}): Uint8Array {
  const codec = { ...bundle.codec, ...changes };
  const { height, width } = bundle.manifest.latent;
  const { h = height, w = width } = changes;
  const symbols = new Int16Array(codec.tables.channels * h * w);
  symbols[0] = value;
  return encodeBitstream(symbols, { h, w }, 0, codec)[0]!;
}

const failure = (id: number, code: string, message = ''): object => ({
  id,
  error: { code, message: expect.stringContaining(message) },
  bundleVersion: bundle.manifest.version,
});

test('answers are matched to their requests, across batches, with what they cost', async () => {
  const { runner, infer } = setUp();
  const answers = [1, 2, 3, 4].map((id) => infer(id));
  expect(runner.batches).toHaveLength(1);
  runner.finish();
  expect(runner.batches.map((batch) => batch.length)).toEqual([1, 3]);
  runner.finish();
  for (const [i, response] of (await Promise.all(answers)).entries()) {
    expect(response).toMatchObject({
      id: i + 1,
      decodeMs: 1,
      inferMs: 2,
      bundleVersion: bundle.manifest.version,
    });
    expect(response.result!.top[0]!.index).toBe(checksum(payload(i + 1)));
    expect(response.queueMs).toBeGreaterThanOrEqual(0);
  }
});

test('what a request asks for reaches the worker', async () => {
  const { runner, infer } = setUp();
  void infer(1);
  expect(runner.batches[0]).toMatchObject([{ topK: 5, wantLogits: false }]);
  runner.finish();
  void infer(2, { topK: 3, wantLogits: true });
  expect(runner.batches[1]).toMatchObject([{ topK: 3, wantLogits: true }]);
});

test('a deadline passes while the batch runs: the client hears it then; the rest of the batch is answered', async () => {
  const { runner, infer } = setUp();
  const first = infer(1);
  runner.finish();
  await first;
  const late = infer(2, { timeoutMs: 1 });
  expect(runner.batches).toHaveLength(2);
  const waiting = infer(3, { timeoutMs: 1 });
  const patient = infer(4);
  expect(await late).toMatchObject(failure(2, 'deadline', '1 ms'));
  expect(await waiting).toMatchObject(failure(3, 'deadline'));
  runner.finish(); // the late answer is dropped
  expect(runner.batches[2]).toHaveLength(1); // nobody computes what nobody waits for
  runner.finish();
  expect((await patient).result).toBeDefined();
});

test('a deadline beyond what timers take is no deadline', async () => {
  const { runner, infer } = setUp();
  const answer = infer(1, { timeoutMs: 0xffff_ffff });
  await new Promise((resolve) => setTimeout(resolve, 20));
  runner.finish();
  expect((await answer).result).toBeDefined();
});

test('a cancelled request is answered at once and not computed; one in a running batch is answered, too', async () => {
  const { runner, infer, cancel } = setUp();
  const running = infer(1);
  const waiting = infer(2);
  const other = infer(3);
  cancel(2);
  cancel(1);
  expect(await waiting).toMatchObject(failure(2, 'cancelled'));
  expect(await running).toMatchObject(failure(1, 'cancelled'));
  runner.finish();
  expect(runner.batches[1]!.map((item) => checksum(item.payload))).toEqual([checksum(payload(3))]);
  runner.finish();
  expect((await other).result).toBeDefined();
});

test('a request whose client is gone already is not queued', async () => {
  const { runner, service } = setUp();
  const response = await service.infer(
    { id: 1, payload: payload(1) },
    { signal: AbortSignal.abort(), peer: 'test' },
  );
  expect(response).toMatchObject(failure(1, 'cancelled'));
  expect(runner.batches).toHaveLength(0);
});

test('a full queue refuses; a request that was cancelled makes room', async () => {
  const { runner, infer, cancel } = setUp({ maxQueue: 2 });
  const taken = [1, 2, 3].map((id) => infer(id)); // one runs, two wait
  expect(await infer(4)).toMatchObject(failure(4, 'overloaded'));
  cancel(2);
  const fifth = infer(5);
  runner.finish();
  runner.finish();
  expect((await fifth).result).toBeDefined();
  expect((await Promise.all(taken)).map((response) => response.error?.code)).toEqual([
    undefined,
    'cancelled',
    undefined,
  ]);
});

test('draining refuses what is new and finishes what was taken', async () => {
  const { runner, service, infer } = setUp();
  const taken = [infer(1), infer(2)];
  service.drain();
  expect(await infer(3)).toMatchObject(failure(3, 'draining'));
  runner.finish();
  runner.finish();
  for (const response of await Promise.all(taken)) expect(response.result).toBeDefined();
});

test('a worker that fails fails its batch, and not the next', async () => {
  const { runner, infer } = setUp();
  const first = infer(1);
  const second = infer(2);
  runner.fail(new TransportError('unavailable', 'the worker died'));
  expect(await first).toMatchObject(failure(1, 'unavailable', 'the worker died'));
  runner.fail(new Error('a bug'));
  expect(await second).toMatchObject(failure(2, 'internal', 'a bug'));
  const third = infer(3);
  runner.finish();
  expect((await third).result).toBeDefined();
});

test('an image that the worker cannot decode is corrupt; its neighbours are answered', async () => {
  const { runner, infer } = setUp();
  void infer(1);
  const answers = [2, 3].map((id) => infer(id));
  runner.finish();
  const bad = checksum(payload(2));
  runner.finish((item) =>
    checksum(item.payload) === bad ? { corrupt: 'words are wrong' } : classified(item),
  );
  expect(await answers[0]).toMatchObject(failure(2, 'corrupt-bitstream', 'words are wrong'));
  expect((await answers[1])!.result).toBeDefined();
});

const flipped = (bytes: Uint8Array, at: number, mask: number): Uint8Array =>
  bytes.map((byte, i) => (i === at ? byte ^ mask : byte));

describe('refused at the door, without any work', () => {
  test.each<[string, () => Partial<InferRequest>, string, string]>([
    ['nothing', () => ({ payload: new Uint8Array(0) }), 'corrupt-bitstream', '0 bytes'],
    ['a header cut short', () => ({ payload: payload(1).subarray(0, 15) }), 'corrupt-bitstream', '15 bytes'],
    ['a stream cut short', () => ({ payload: payload(1).subarray(0, 30) }), 'corrupt-bitstream', 'checksum'],
    ['one bit of a word', () => ({ payload: flipped(payload(1), 17, 1) }), 'corrupt-bitstream', 'checksum'],
    [
      'one bit of the codec id',
      () => ({ payload: flipped(payload(1), 2, 1) }),
      'corrupt-bitstream',
      'checksum',
    ],
    ['a later version', () => ({ payload: flipped(payload(1), 0, 0x10) }), 'bad-request', 'version 1'],
    ['a flag', () => ({ payload: flipped(payload(1), 0, 1) }), 'bad-request', 'flags'],
    [
      'another codec',
      () => ({ payload: payload(1, { id: 'feedfacecafe' }) }),
      'unknown-codec',
      'feedfacecafe',
    ],
    ['another latent', () => ({ payload: payload(1, { h: 7, w: 14 }) }), 'bad-request', '7x14'],
  ])('%s', async (_, request, code, message) => {
    const { runner, infer } = setUp();
    expect(await infer(1, request())).toMatchObject(failure(1, code, message));
    expect(runner.batches).toHaveLength(0);
  });
});

describe('hello', () => {
  const hello = { protocolMin: 1, protocolMax: 1, codecIds: [], client: 'test' };

  test('tells which codecs are served', () => {
    const { service } = setUp();
    const codecIds = ['feedfacecafe', bundle.codec.id];
    const { name, version } = bundle.manifest;
    expect(service.hello({ ...hello, codecIds })).toEqual({
      protocol: 1,
      codecIds: [bundle.codec.id],
      bundle: name,
      bundleVersion: version,
    });
    expect(service.hello(hello).codecIds).toEqual([]);
  });

  test('refuses an edge with none of them, and another protocol', () => {
    const { service } = setUp();
    expect(() => service.hello({ ...hello, codecIds: ['feedfacecafe'] })).toThrow(
      expect.objectContaining({ code: 'unknown-codec', message: expect.stringContaining('feedfacecafe') }),
    );
    for (const [protocolMin, protocolMax] of [
      [0, 0],
      [2, 9],
    ] as const) {
      expect(() => service.hello({ ...hello, protocolMin, protocolMax })).toThrow(
        expect.objectContaining({ code: 'protocol' }),
      );
    }
  });
});

const fetch = async (service: CloudService, name: string, file: string, offset: number): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of service.fetchFile(name, file, offset)) chunks.push(chunk);
  return Buffer.concat(chunks);
};

describe('the bundle can be fetched', () => {
  test('manifest and files, from an offset on', async () => {
    const { service } = setUp();
    const { name, decoder } = bundle.manifest;
    expect(JSON.parse(new TextDecoder().decode(service.getBundle('').manifest))).toEqual(bundle.manifest);
    expect(service.getBundle(name).version).toBe(bundle.manifest.version);
    const bytes = Buffer.from(await bundle.read(decoder.file));
    expect(bytes.equals(await fetch(service, name, decoder.file, 0))).toBe(true);
    expect(bytes.subarray(1000).equals(await fetch(service, '', decoder.file, 1000))).toBe(true);
    expect(await fetch(service, '', decoder.file, bytes.length)).toHaveLength(0);
  });

  test('and nothing else', async () => {
    const { service } = setUp();
    expect(() => service.getBundle('other')).toThrow(expect.objectContaining({ code: 'not-found' }));
    for (const file of ['manifest.json', '../../package.json', 'constructor']) {
      await expect(fetch(service, '', file, 0)).rejects.toMatchObject({ code: 'not-found' });
    }
  });
});
