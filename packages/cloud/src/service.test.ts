import { SIGNATURE_FILE, type Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { encodeBitstream, MAX_SLICES as MOST_SLICES, type Codec } from '@raccoon/codec';
import {
  MAX_SLICES,
  type Caller,
  type InferRequest,
  type InferResponse,
  type LaterSlices,
} from '@raccoon/transport';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import type { AdmissionLimits } from './admission.ts';
import type { Model, Models } from './model.ts';
import type { RequestEnd, RequestFacts } from './observer.ts';
import type { Job, Outcome, PipelineStats } from './pipeline.ts';
import { CloudService } from './service.ts';

let bundle: Bundle;
/** Another bundle, with a codec of its own. */
let other: Bundle;
const OTHER_CODEC = '0123456789ab';
beforeAll(async () => {
  bundle = await openBundle('imagenet1k-mobilenet');
  const codec = { ...bundle.codec, id: OTHER_CODEC };
  const manifest = { ...bundle.manifest, name: 'other', version: '7.0.0' };
  other = { ...bundle, manifest, codec, codecs: new Map([[OTHER_CODEC, codec]]) };
});

const caller: Caller = { name: 'somebody' };
const only = (bundleName: string): Caller => ({ name: 'x', bundles: [bundleName] });
const ANSWER: Outcome = {
  result: { top: [{ index: 1, probability: 0.75, logit: 2 }], margin: 0.5 },
  queueMs: 1,
  decodeMs: 2,
  inferMs: 3,
};

/** The service, in front of a pipeline that only remembers its jobs. */
function setUp(limits: Partial<AdmissionLimits> = {}, run: (job: Job) => Outcome = () => ANSWER) {
  const jobs: Job[] = [];
  const ends: (RequestFacts & RequestEnd)[] = [];
  let arrived = 0;
  const stats: PipelineStats = {
    waiting: 3,
    bytes: 300,
    oldestMs: 7,
    inFlight: 2,
    incomplete: 1,
    incompleteBytes: 100,
    workers: 1,
    imagesPerSecond: 100,
    utilisation: 0.5,
  };
  const all: Model[] = [bundle, other].map((served) => ({
    key: `${served.manifest.name}@${served.manifest.version}`,
    bundle: served,
  }));
  const models: Models = {
    withCodec: (id) => all.find(({ bundle: { codecs } }) => codecs.has(id)),
    named: (name) => all.find(({ bundle: { manifest } }) => name === '' || name === manifest.name),
    versions: (name) =>
      all.flatMap(({ bundle: { manifest } }) => (manifest.name === name ? [manifest.version] : [])),
    all,
  };
  const service = new CloudService({
    models,
    pipeline: {
      infer: async (job) => {
        jobs.push(job);
        return run(job);
      },
      get stats() {
        return stats;
      },
    },
    observer: {
      arrived: () => void arrived++,
      ended: (request, end) => void ends.push({ ...request, ...end }),
      batch: () => undefined,
      worker: () => undefined,
    },
    limits: { imagesPerSecond: Infinity, ...limits },
  });
  const infer = (id: number, request: Partial<InferRequest> = {}, who = caller): Promise<InferResponse> =>
    service.infer(
      { id, payload: payload(id), ...request },
      { signal: new AbortController().signal, peer: 'test', caller: who },
    );
  return { service, jobs, ends, arrived: () => arrived, infer };
}

/** A good bitstream, different for every `value`; with another codec, shape or slices where a test says so. */
function payload(
  value: number,
  changes: Partial<Codec & { h: number; w: number; channelEnds: number[] }> = {},
): Uint8Array {
  const codec = { ...bundle.codec, ...changes };
  const { height, width } = bundle.manifest.latent;
  const { h = height, w = width, channelEnds } = changes;
  const symbols = new Int16Array(codec.tables.channels * h * w);
  symbols[0] = value;
  return encodeBitstream(symbols, { h, w }, 0, codec, channelEnds ? { channelEnds } : {})[0]!;
}

const failure = (id: number, code: string, message = ''): object => ({
  id,
  error: { code, message: expect.stringContaining(message) },
});

test('its load is what waits and what runs, and whether it leaves', () => {
  const load = { images: 5, imagesPerSecond: 100, utilisation: 0.5 };
  const { service } = setUp();
  expect(service.load()).toEqual({ ...load, draining: false });
  const { service: leaving } = setUp();
  leaving.draining = true;
  expect(leaving.load()).toEqual({ ...load, draining: true });
});

test('a request becomes a job, and its outcome the answer', async () => {
  const { infer, jobs } = setUp();
  expect(await infer(1)).toEqual({ id: 1, ...ANSWER, bundleVersion: bundle.manifest.version });
  expect(jobs).toMatchObject([
    {
      slices: [payload(1)],
      topK: 5,
      wantLogits: false,
      caller: 'somebody',
      priority: 0,
      timeoutMs: 0,
    },
  ]);
  expect(jobs[0]!.model.bundle).toBe(bundle);
  await infer(2, { topK: 3, wantLogits: true, timeoutMs: 7, priority: 1 });
  expect(jobs[1]).toMatchObject({ topK: 3, wantLogits: true, timeoutMs: 7, priority: 1 });
  await infer(3, { priority: 9 });
  expect(jobs[2]).toMatchObject({ priority: 1 });
});

test('the codec in the payload says which bundle answers, and the answer says its version', async () => {
  const { infer, jobs } = setUp();
  const answer = await infer(1, { payload: payload(1, { id: OTHER_CODEC }) });
  expect(answer.bundleVersion).toBe('7.0.0');
  expect(jobs[0]!.model.bundle).toBe(other);
});

test('who names a bundle is answered by that one or not at all', async () => {
  const { infer, ends } = setUp();
  const { name, version } = bundle.manifest;
  expect((await infer(1, { bundle: name, bundleVersion: version })).error).toBeUndefined();
  const wrong = [
    { bundle: 'other' },
    { bundle: name, bundleVersion: '0.0.1' },
    { bundle: name, payload: payload(1, { id: OTHER_CODEC }) },
  ];
  for (const request of wrong) {
    expect(await infer(2, request)).toMatchObject(failure(2, 'unknown-codec', 'was asked for'));
    expect(ends.at(-1)).toMatchObject({ reason: 'other-bundle' });
  }
});

test('a model is described by its name, for those who may use it', () => {
  const { service } = setUp();
  const { name, version, classes } = bundle.manifest;
  const described = { name, versions: [version], classes: classes.length };
  expect(service.model('', caller)).toEqual(described);
  expect(service.model(name, caller)).toEqual(described);
  expect(() => service.model('nobody', caller)).toThrow(expect.objectContaining({ code: 'not-found' }));
  expect(() => service.model(name, { ...caller, bundles: ['other'] })).toThrow(
    expect.objectContaining({ code: 'forbidden' }),
  );
});

test('a refusal of the pipeline is an error, with its advice and its version', async () => {
  const refusal = { code: 'overloaded', message: 'full', reason: 'queue-full', retryAfterMs: 12 } as const;
  const { infer } = setUp({}, () => ({ refusal, queueMs: 0, decodeMs: 0, inferMs: 0 }));
  expect(await infer(1)).toMatchObject({
    id: 1,
    error: { code: 'overloaded', message: 'full', retryAfterMs: 12 },
    bundleVersion: bundle.manifest.version,
  });
});

test('a caller has its bundles and its rate', async () => {
  const { infer, jobs } = setUp({ imagesPerSecond: 1000 });
  const limited: Caller = { name: 'limited', bundles: ['other'], imagesPerSecond: 0.001 };
  expect(await infer(1, {}, limited)).toMatchObject(failure(1, 'forbidden', 'limited may not use'));
  const theirs = { payload: payload(2, { id: OTHER_CODEC }) };
  expect((await infer(2, theirs, limited)).error).toBeUndefined();
  const refused = await infer(3, theirs, limited);
  expect(refused).toMatchObject(failure(3, 'rate-limited', 'limited'));
  expect(refused.error!.retryAfterMs).toBeGreaterThan(900_000);
  expect((await infer(4)).error).toBeUndefined();
  expect(jobs).toHaveLength(2);
});

test('whoever watches hears of every request once, and never of its content', async () => {
  const { infer, ends, arrived } = setUp();
  await infer(1);
  await infer(2, { payload: new Uint8Array(3) });
  expect(arrived()).toBe(2);
  const pixels = bundle.manifest.input.width * bundle.manifest.input.height;
  expect(ends).toEqual([
    {
      id: 1,
      caller: 'somebody',
      model: `imagenet1k-mobilenet@${bundle.manifest.version}`,
      payloadBytes: payload(1).length,
      slices: 1,
      sliceCount: 1,
      point: 0,
      pixels,
      trace: undefined,
      code: 'ok',
      reason: '',
      queueMs: 1,
      decodeMs: 2,
      inferMs: 3,
      totalMs: expect.any(Number),
    },
    expect.objectContaining({
      id: 2,
      model: '',
      code: 'corrupt-bitstream',
      reason: 'truncated',
      point: undefined,
    }),
  ]);
});

test('what the transport refuses by itself is in the same books', () => {
  const { service, ends, arrived } = setUp();
  service.refused('payload-too-large', caller, { id: 3, payload: new Uint8Array(9) });
  service.refused('bad-request', caller);
  expect(arrived()).toBe(2);
  expect(ends).toMatchObject([
    { id: 3, caller: 'somebody', model: '', payloadBytes: 9, code: 'payload-too-large', totalMs: 0 },
    { id: 0, payloadBytes: 0, code: 'bad-request' },
  ]);
});

describe('an image in slices', () => {
  const later: LaterSlices = { next: () => Promise.reject(new Error('nobody asks here')) };
  const context = { signal: new AbortController().signal, peer: 'test', caller, later };

  test('becomes a job with what is there, and the way to the rest', async () => {
    const { service, jobs, ends } = setUp();
    const first = payload(1, { channelEnds: [9, 20, 48] });
    await service.infer({ id: 1, payload: first, moreSlices: true, stopMargin: 0.5 }, context);
    expect(jobs).toMatchObject([{ slices: [first], rest: { sliceCount: 3, stopMargin: 0.5 } }]);
    expect(jobs[0]!.rest!.later).toBe(later);
    expect(ends).toMatchObject([{ slices: 1, sliceCount: 3, payloadBytes: first.length, code: 'ok' }]);
  });

  test('is in the books with all that came', async () => {
    const { service, jobs, ends } = setUp({}, (job) => {
      job.slices.push(new Uint8Array(10));
      return ANSWER;
    });
    const first = payload(1, { channelEnds: [9, 20, 48] });
    await service.infer({ id: 1, payload: first, moreSlices: true }, context);
    expect(jobs[0]!.rest!.stopMargin).toBe(0);
    expect(ends).toMatchObject([{ slices: 2, sliceCount: 3, payloadBytes: first.length + 10 }]);
  });

  test.each<[string, () => Uint8Array, string, string]>([
    ['that says it has one', () => payload(1), 'bad-request', '1 of 1 slices, and more are to come'],
    [
      'with one bit of its header wrong',
      () => flipped(payload(1, { channelEnds: [9, 48] }), 10, 1),
      'corrupt-bitstream',
      'checksum',
    ],
    [
      'with one bit of its words wrong',
      () => flipped(payload(1, { channelEnds: [9, 48] }), 17, 1),
      'corrupt-bitstream',
      'checksum',
    ],
  ])('%s is refused at the door', async (_, first, code, message) => {
    const { service, jobs } = setUp();
    expect(await service.infer({ id: 1, payload: first(), moreSlices: true }, context)).toMatchObject(
      failure(1, code, message),
    );
    expect(jobs).toEqual([]);
  });

  test('has at most as many slices on the wire as in a bitstream', () => {
    expect(MAX_SLICES).toBe(MOST_SLICES);
  });
});

const flipped = (bytes: Uint8Array, at: number, mask: number): Uint8Array =>
  bytes.map((byte, i) => (i === at ? byte ^ mask : byte));

describe('refused at the door, without any work', () => {
  test.each<[string, () => Partial<InferRequest>, string, string]>([
    ['nothing', () => ({ payload: new Uint8Array(0) }), 'corrupt-bitstream', '0 bytes'],
    ['a header cut short', () => ({ payload: payload(1).subarray(0, 15) }), 'corrupt-bitstream', '15 bytes'],
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
    [
      'one bit of the height',
      () => ({ payload: flipped(payload(1), 8, 1) }),
      'corrupt-bitstream',
      'checksum',
    ],
    [
      'one of several slices',
      () => ({ payload: payload(1, { channelEnds: [9, 48] }) }),
      'bad-request',
      '1 of 2 slices, and no other is to come',
    ],
  ])('%s', async (_, request, code, message) => {
    const { jobs, infer } = setUp();
    expect(await infer(1, request())).toMatchObject(failure(1, code, message));
    expect(jobs).toEqual([]);
  });
});

describe('hello', () => {
  const hello = { protocolMin: 1, protocolMax: 1, codecIds: [], client: 'test' };

  test('tells which codecs are served', () => {
    const { service } = setUp();
    const codecIds = ['feedfacecafe', bundle.codec.id];
    const { name, version } = bundle.manifest;
    expect(service.hello({ ...hello, codecIds }, caller)).toEqual({
      protocol: 1,
      codecIds: [bundle.codec.id],
      bundle: name,
      bundleVersion: version,
    });
    expect(service.hello(hello, caller).codecIds).toEqual([]);
  });

  test('names the bundle of the first codec that the caller may use', () => {
    const { service } = setUp();
    const codecIds = [bundle.codec.id, OTHER_CODEC];
    expect(service.hello({ ...hello, codecIds }, caller)).toMatchObject({
      codecIds,
      bundle: bundle.manifest.name,
    });
    expect(service.hello({ ...hello, codecIds }, only('other'))).toMatchObject({
      codecIds: [OTHER_CODEC],
      bundle: 'other',
      bundleVersion: '7.0.0',
    });
    expect(() => service.hello({ ...hello, codecIds }, only('third'))).toThrow(
      expect.objectContaining({ code: 'forbidden' }),
    );
  });

  test('refuses an edge with none of them, and another protocol', () => {
    const { service } = setUp();
    expect(() => service.hello({ ...hello, codecIds: ['feedfacecafe'] }, caller)).toThrow(
      expect.objectContaining({ code: 'unknown-codec', message: expect.stringContaining('feedfacecafe') }),
    );
    for (const [protocolMin, protocolMax] of [
      [0, 0],
      [2, 9],
    ] as const) {
      expect(() => service.hello({ ...hello, protocolMin, protocolMax }, caller)).toThrow(
        expect.objectContaining({ code: 'protocol' }),
      );
    }
  });
});

const fetch = async (service: CloudService, name: string, file: string, offset: number): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of service.fetchFile(name, file, offset, caller)) chunks.push(chunk);
  return Buffer.concat(chunks);
};

describe('the bundle can be fetched', () => {
  test('manifest and files, from an offset on', async () => {
    const { service } = setUp();
    const { name, decoder } = bundle.manifest;
    expect(JSON.parse(new TextDecoder().decode(service.getBundle('', caller).manifest))).toEqual(
      bundle.manifest,
    );
    expect(service.getBundle(name, caller).version).toBe(bundle.manifest.version);
    const bytes = Buffer.from(await bundle.read(decoder.file));
    expect(bytes.equals(await fetch(service, name, decoder.file, 0))).toBe(true);
    expect(bytes.subarray(1000).equals(await fetch(service, '', decoder.file, 1000))).toBe(true);
    expect(await fetch(service, '', decoder.file, bytes.length)).toHaveLength(0);
  });

  test('and its signature, where it has one', async () => {
    await expect(fetch(setUp().service, '', SIGNATURE_FILE, 0)).rejects.toMatchObject({ code: 'not-found' });
    const signed = Uint8Array.from({ length: 64 }, (_, i) => i);
    vi.spyOn(bundle, 'signature').mockResolvedValueOnce(signed);
    expect(await fetch(setUp().service, '', SIGNATURE_FILE, 0)).toEqual(Buffer.from(signed));
  });

  test('and nothing else', async () => {
    const { service } = setUp();
    expect(() => service.getBundle('third', caller)).toThrow(expect.objectContaining({ code: 'not-found' }));
    for (const file of ['manifest.json', '../../package.json', 'constructor']) {
      await expect(fetch(service, '', file, 0)).rejects.toMatchObject({ code: 'not-found' });
    }
  });

  test('by those who may use it', async () => {
    const { service } = setUp();
    expect(service.getBundle('other', only('other')).version).toBe('7.0.0');
    expect(() => service.getBundle('', only('other'))).toThrow(
      expect.objectContaining({ code: 'forbidden' }),
    );
    const files = service.fetchFile('', 'tables.bin', 0, only('other'))[Symbol.asyncIterator]();
    await expect(files.next()).rejects.toMatchObject({ code: 'forbidden' });
  });
});
