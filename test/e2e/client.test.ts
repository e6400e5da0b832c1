import { readFile } from 'node:fs/promises';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { connect, isFailure, type Client, type ConnectOptions, type Outcome } from '@raccoon/client';
import { openService, startCloud, type CloudOptions } from '@raccoon/cloud';
import type { ImageInput } from '@raccoon/edge';
import { TransportError, type Limits } from '@raccoon/transport';
import { serveMemory, type MemoryServer } from '@raccoon/transport/memory';
import { startWireMeter } from '@raccoon/rac';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Authority } from '../conformance/certificates.ts';
import { startLink } from '../helpers/link.mjs';
import { built, sample, samples, shippedBundle } from '../helpers/paths.ts';

let bundle: Bundle;
beforeAll(async () => {
  built('packages/cloud/dist/worker.js');
  bundle = await openBundle(shippedBundle);
});

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

type Options = Omit<ConnectOptions, 'cloud' | 'bundle'>;

async function client(cloud: ConnectOptions['cloud'], options: Options = {}): Promise<Client> {
  const opened = await connect({ cloud, bundle, threads: 1, ...options });
  cleanups.push(() => opened.close());
  return opened;
}

/** The real service behind the transport that has no sockets. */
async function memoryCloud(
  options: Partial<CloudOptions> = {},
  limits?: Partial<Limits>,
): Promise<MemoryServer> {
  const local = await openService({ bundle, workers: 1, ...options });
  const server = serveMemory(local.service, limits);
  cleanups.push(async () => {
    server.close();
    await local.close();
  });
  return server;
}

/** The real service on a port. */
async function grpcCloud(listen = '127.0.0.1:0') {
  const cloud = await startCloud({ bundle, workers: 1, listen });
  let open = true;
  const close = async (): Promise<void> => {
    if (open) await cloud.close(0);
    open = false;
  };
  cleanups.push(close);
  return { address: cloud.address, port: cloud.port, close };
}

async function all(outcomes: AsyncIterable<Outcome>): Promise<Outcome[]> {
  const list: Outcome[] = [];
  for await (const outcome of outcomes) list.push(outcome);
  return list.toSorted((a, b) => a.index - b.index);
}

const code = (outcome: Outcome): unknown =>
  isFailure(outcome) ? (outcome.error as TransportError).code : 'ok';

describe.each([
  ['memory', async () => (await memoryCloud()).connect()],
  ['gRPC', async () => (await grpcCloud()).address],
])('over %s', (_, start) => {
  test('one image: a path, bytes, or pixels', async () => {
    const here = await client(await start(), { topK: 3, wantLogits: true });
    const hen = sample('hen.jpg');
    const { bytes, bpp, point } = await here.edge.encode(hen);
    const answer = await here.classify(hen);
    expect(answer).toMatchObject({ image: hen, index: 0, bytes, bpp, point });
    expect(answer.bundleVersion).toBe(bundle.manifest.version);
    expect(answer.logits).toHaveLength(bundle.manifest.classes.length);
    expect(answer.top).toHaveLength(3);
    for (const [i, score] of answer.top.entries()) {
      expect(score).toMatchObject(bundle.manifest.classes[score.index]!);
      expect(score.logit).toBeLessThanOrEqual(answer.top[i - 1]?.logit ?? Infinity);
      expect(score.logit).toBe(answer.logits![score.index]);
    }
    expect(answer.margin).toBeCloseTo(answer.top[0]!.probability - answer.top[1]!.probability, 5);

    const file = new Uint8Array(await readFile(hen));
    expect((await here.classify(file)).top).toEqual(answer.top);
    const pixels = { data: new Uint8Array(64 * 64 * 3), width: 64, height: 64 };
    expect(await here.classify(pixels)).toMatchObject({ image: pixels, index: 0 });
  });

  test('many images: each has its outcome, and one that fails stops nothing', async () => {
    const here = await client(await start());
    const photos = [
      sample('hen.jpg'),
      'nobody.jpg',
      sample('koala.jpg'),
      new Uint8Array(9),
      sample('hen.jpg'),
    ];
    const outcomes = await all(here.classify(photos));
    expect(outcomes.map(({ index, image }) => ({ index, image }))).toEqual(
      photos.map((image, index) => ({ index, image })),
    );
    expect(outcomes.map(code)).toEqual(['ok', 'not-found', 'ok', 'not-an-image', 'ok']);
    const [first, , , , last] = outcomes;
    expect(first).toMatchObject({ index: 0, bytes: (last as { bytes: number }).bytes });
    expect(await all(here.classify([]))).toEqual([]);
  });

  test('a damaged bitstream is refused with a code; the stream goes on', async () => {
    const here = await client(await start());
    const encoded = await here.edge.encode(sample('hen.jpg'));
    const damaged = { ...encoded, slices: encoded.slices.map((slice) => slice.with(40, slice[40]! ^ 1)) };
    await expect(here.send('hen', damaged)).rejects.toMatchObject({
      name: 'RequestError',
      code: 'corrupt-bitstream',
    });
    expect(await here.send('hen', encoded, 7)).toMatchObject({ image: 'hen', index: 7 });
    expect((await here.classify(sample('hen.jpg'))).bytes).toBe(encoded.bytes);
  });

  test('another codec is refused at once, with what to do', async () => {
    const cloud = await start();
    const stranger = { ...bundle, codec: { ...bundle.codec, id: 'feedfacecafe' } };
    await expect(connect({ cloud, bundle: stranger })).rejects.toMatchObject({
      name: 'TransportError',
      code: 'unknown-codec',
      message: expect.stringMatching(/feedfacecafe.*need the same bundle/),
    });
  });
});

test('the result does not depend on the transport', async () => {
  const answers = [];
  for (const cloud of [(await memoryCloud()).connect(), (await grpcCloud()).address]) {
    const here = await client(cloud, { wantLogits: true });
    answers.push((await here.classify(sample('koala.jpg'))).logits);
  }
  expect(answers[0]).toEqual(answers[1]);
});

test('sources: a generator, an async one, and more images than may be in flight', async () => {
  const server = await memoryCloud({}, { maxInFlight: 2 });
  const here = await client(server.connect(), { maxInFlight: 3 });
  const photos = samples.slice(0, 5);
  const inFlight = [...photos, ...photos];
  expect((await all(here.classify(inFlight.values()))).map(code)).toEqual(inFlight.map(() => 'ok'));
  async function* slowly(): AsyncGenerator<ImageInput> {
    for (const photo of photos) {
      await new Promise((resolve) => setImmediate(resolve));
      yield photo;
    }
  }
  expect((await all(here.classify(slowly()))).map(({ image }) => image)).toEqual(photos);
});

function* camera(): Generator<ImageInput> {
  yield sample('hen.jpg');
  throw new Error('the camera fell down');
}

test('a source that throws is heard after what came before it; the client goes on', async () => {
  const here = await client((await memoryCloud()).connect());
  await expect(all(here.classify(camera()))).rejects.toThrow('the camera fell down');
  expect(code(await here.classify(sample('hen.jpg')))).toBe('ok');
});

test('leaving early ends the source and leaves the client usable', async () => {
  const here = await client((await memoryCloud()).connect());
  let ended = false;
  function* endless(): Generator<ImageInput> {
    try {
      for (;;) yield sample('hen.jpg');
    } finally {
      ended = true;
    }
  }
  for await (const outcome of here.classify(endless())) {
    expect(code(outcome)).toBe('ok');
    break;
  }
  expect(ended).toBe(true);
  expect(code(await here.classify(sample('koala.jpg')))).toBe('ok');
});

test('a deadline is an outcome of its image', async () => {
  // a batch that waits for company which never comes
  const server = await memoryCloud({ maxBatchDelayMs: 600_000 });
  const here = await client(server.connect(), { timeoutMs: 1 });
  await expect(here.classify(sample('hen.jpg'))).rejects.toMatchObject({
    name: 'RequestError',
    code: 'deadline',
  });
  const outcomes = await all(here.classify([sample('hen.jpg'), 'nobody.jpg']));
  expect(outcomes.map(code)).toEqual(['deadline', 'not-found']);
});

test('a link that breaks for good fails what is left, each image by itself', async () => {
  const { port } = await grpcCloud();
  const relay = await startWireMeter(port);
  cleanups.push(() => relay.close());
  const reconnect = { firstDelayMs: 1, maxDelayMs: 10, patienceMs: 50 };
  const here = await client(relay.address, { maxInFlight: 2, reconnect });
  const outcomes: Outcome[] = [];
  for await (const outcome of here.classify(samples)) {
    if (outcomes.length === 0) relay.close();
    outcomes.push(outcome);
  }
  expect(outcomes).toHaveLength(samples.length);
  expect(code(outcomes[0]!)).toBe('ok');
  expect(code(outcomes.at(-1)!)).toBe('unavailable');
  for (const outcome of outcomes) {
    if (isFailure(outcome)) expect(outcome.error).toBeInstanceOf(TransportError);
  }
});

test('a cloud that leaves and comes back costs no image', async () => {
  const first = await grpcCloud();
  const here = await client(first.address, { maxInFlight: 3, reconnect: { firstDelayMs: 10 } });
  const told: string[] = [];
  for (const name of ['connected', 'disconnected', 'reconnecting'] as const) {
    here.events.on(name, () => told.push(name));
  }
  const outcomes: Outcome[] = [];
  let back: Promise<unknown> | undefined;
  for await (const outcome of here.classify(samples)) {
    back ??= first.close().then(() => grpcCloud(first.address));
    outcomes.push(outcome);
  }
  await back;
  expect(outcomes.map(code)).toEqual(samples.map(() => 'ok'));
  expect(outcomes.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual([...samples.keys()]);
  expect(told[0]).toBe('disconnected');
  expect(told.at(-1)).toBe('connected');
});

test('a link that goes dead without a word: answers from here, and another link in the end', async () => {
  const { port } = await grpcCloud();
  const emulated = await startLink(port);
  cleanups.push(() => emulated.close());
  const reconnect = { silenceMs: 1000, firstDelayMs: 10, maxDelayMs: 100 };
  const here = await client(emulated.address, { deadlineMs: 2000, reconnect });
  const told: string[] = [];
  here.events.on('disconnected', ({ error }) => told.push(String(error.cause)));
  const answered = async (by: string): Promise<void> => {
    for (;;) {
      const { source, degraded } = await here.classify(sample('hen.jpg'));
      expect(degraded).toBe(source === 'edge');
      if (source === by) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await answered('cloud');
  emulated.set({ up: { blackout: true }, down: { blackout: true } });
  await answered('edge');
  while (told.length === 0) await answered('edge');
  expect(told[0]).toMatch(/said nothing for 1 s/);
  emulated.set({ up: { blackout: false }, down: { blackout: false } });
  await answered('cloud');
});

test('over TLS, in the background, traced, with the arithmetic that was asked for', async () => {
  const authority = new Authority();
  cleanups.push(() => authority.remove());
  const tls = authority.issue('cloud', { names: ['localhost'] });
  const cloud = await startCloud({ bundle, workers: 1, listen: '127.0.0.1:0', tls });
  cleanups.push(() => cloud.close(0));
  const target = `localhost:${cloud.port}`;
  const spans: string[] = [];
  const here = await client(target, {
    tls: { ca: authority.ca },
    precision: 'float32',
    background: true,
    traceparent: () => {
      spans.push('asked');
      return '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    },
  });
  expect(code(await here.classify(sample('hen.jpg')))).toBe('ok');
  expect(spans).toEqual(['asked']);
  await expect(client(target)).rejects.toMatchObject({
    code: 'unauthenticated',
    message: expect.stringMatching(/takes TLS only/),
  });
  await expect(client('cloud.example:1', { token: 'secret' })).rejects.toMatchObject({ code: 'bad-request' });
});

describe('connecting', () => {
  test('nobody there: says where, and what to start', async () => {
    const { address, close } = await grpcCloud();
    await close();
    await expect(connect({ cloud: address, bundle })).rejects.toMatchObject({
      name: 'TransportError',
      code: 'unavailable',
      message: expect.stringMatching(new RegExp(`${address}.*raccoon cloud`)),
    });
  });

  test('a bundle, or a point of it, that is not there', async () => {
    const cloud = '127.0.0.1:1';
    await expect(connect({ cloud, bundle: './nowhere' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(connect({ cloud, bundle, blocks: 99 })).rejects.toMatchObject({ code: 'unknown-point' });
  });

  test('closed is closed', async () => {
    const here = await client((await memoryCloud()).connect());
    await here.classify(sample('hen.jpg'));
    await here.close();
    await expect(here.classify(sample('hen.jpg'))).rejects.toMatchObject({ code: 'closed' });
    await here.close();
  });
});
