import {
  TransportError,
  type InferenceService,
  type InferRequest,
  type InferResponse,
} from '@raccoon/transport';
import { serveMemory, type MemoryServer } from '@raccoon/transport/memory';
import { connectGrpc, serveGrpc } from '@raccoon/transport/node';
import { afterEach, describe, expect, test } from 'vitest';
import { ClientEvents, type ClientEventMap } from './events.ts';
import { Link, type LinkOptions } from './link.ts';
import type { SlicedImage } from './progressive.ts';
import { fixedReplicas, type Dialled, type Replicas, type Way } from './replicas.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const hello = { protocolMin: 1, protocolMax: 1, codecIds: ['0123456789ab'], client: 'test' };
/** An image that is one slice of one byte. */
const ofByte = (value: number): SlicedImage => {
  const slice = Uint8Array.of(value);
  return { slices: [slice], stopMargin: 0, whole: () => slice };
};
const image = ofByte(1);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

type Refusal = 'draining' | 'unavailable' | 'overloaded';

/** Answers at once, or when told to, and remembers who asked for what. */
class Echo implements InferenceService {
  readonly peers = new Set<string>();
  readonly asked: InferRequest[] = [];
  /** What the next requests are refused with. */
  readonly refusals: Refusal[] = [];
  /** Requests wait for it. */
  gate: Promise<void> = Promise.resolve();
  cancelled = 0;
  /** Why no stream may be opened. */
  closed: TransportError | undefined;

  hello(): ReturnType<InferenceService['hello']> {
    if (this.closed) throw this.closed;
    return { protocol: 1, codecIds: hello.codecIds, bundle: 'b', bundleVersion: '1' };
  }

  infer: InferenceService['infer'] = async (request, { peer, signal }): Promise<InferResponse> => {
    this.peers.add(peer);
    this.asked.push(request);
    signal.addEventListener('abort', () => this.cancelled++);
    const code = this.refusals.shift();
    const answer = { id: request.id, queueMs: 1, decodeMs: 2, inferMs: 3, bundleVersion: '1' };
    const { gate } = this;
    await turn();
    if (code) return { ...answer, error: { code, message: 'no', retryAfterMs: 0 } };
    await gate;
    return { ...answer, result: { top: [], margin: request.payload[0]! } };
  };

  getBundle(): never {
    throw new TransportError('not-found', 'none');
  }

  async *fetchFile(): AsyncGenerator<Uint8Array> {
    yield Uint8Array.of(1);
  }
}

type Told = { [N in keyof ClientEventMap]: [N, ClientEventMap[N]] }[keyof ClientEventMap];

interface Watched {
  link: Link;
  told: Told[];
  /** opened, closed, and `sent 1`, ... by id. */
  witnessed: string[];
}

/** Ways that stay. */
function ways(dials: readonly (() => Dialled)[]): Replicas {
  return fixedReplicas(dials.map((dial, i) => ({ address: `cloud ${i}`, dial })));
}

function watched(dials: readonly (() => Dialled)[], options: Partial<LinkOptions> = {}): Watched {
  const events = new ClientEvents();
  const told: Told[] = [];
  for (const name of ['connected', 'disconnected', 'reconnecting', 'resent'] as const) {
    events.on(name, (detail) => told.push([name, detail] as Told));
  }
  const witnessed: string[] = [];
  const witness: LinkOptions['witness'] = {
    opened: () => witnessed.push('opened'),
    closed: () => witnessed.push('closed'),
    sent: (_, id) => witnessed.push(`sent ${id}`),
    answered: (_, id, cloudMs) => witnessed.push(`answered ${id} in ${cloudMs}`),
    forgotten: (_, id) => witnessed.push(`forgotten ${id}`),
  };
  const made = new Link({
    replicas: ways(dials),
    streams: 1,
    hello,
    events,
    witness,
    reconnect: { firstDelayMs: 1 },
    ...options,
  });
  cleanups.push(() => made.close());
  return { link: made, told, witnessed };
}

function link(dial: () => Dialled, options: Partial<LinkOptions> = {}): Link {
  return watched([dial], options).link;
}

/** A cloud in memory that can be killed and started again, and counts the connections made to it. */
class Cloud {
  readonly service: Echo = new Echo();
  #server: MemoryServer = serveMemory(this.service);
  dialled = 0;

  readonly dial = (): Dialled => {
    this.dialled++;
    return this.#server.connect();
  };

  kill(): void {
    this.#server.close();
  }

  start(limits?: Parameters<typeof serveMemory>[1]): void {
    this.#server = serveMemory(this.service, limits);
  }

  drain(): Promise<void> {
    return this.#server.drain(600_000);
  }
}

/** Holds the answers of a service back; returns what lets them go. */
function hold(service: Echo): () => void {
  let release!: () => void;
  service.gate = new Promise((resolve) => (release = resolve));
  return release;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('connections that grow old cost no image', async () => {
  const service = new Echo();
  const server = await serveGrpc(service, { listen: '127.0.0.1:0', maxConnectionAgeMs: 300 });
  cleanups.push(() => server.close());
  const here = link(() => connectGrpc(server.address));
  const senders = Array.from({ length: 8 }, async () => {
    let answered = 0;
    while (service.peers.size < 4) {
      const { error } = await here.request({ image });
      expect(error).toBeUndefined();
      answered++;
    }
    return answered;
  });
  for (const answered of await Promise.all(senders)) expect(answered).toBeGreaterThan(0);
});

describe('a cloud that is killed', () => {
  test('and comes back: what was in flight is sent again under its id, and has one answer', async () => {
    const cloud = new Cloud();
    const { link: here, told, witnessed } = watched([cloud.dial]);
    await here.open();
    const release = hold(cloud.service);
    const answers = [7, 8, 9].map((value) => here.request({ image: ofByte(value) }));
    await until(() => cloud.service.asked.length === 3);
    cloud.kill();
    await until(() => told.some(([name]) => name === 'reconnecting'));
    cloud.start();
    await until(() => cloud.service.asked.length === 6);
    release();
    expect((await Promise.all(answers)).map(({ result }) => result?.margin)).toEqual([7, 8, 9]);
    expect(cloud.service.asked.map(({ id }) => id)).toEqual([1, 2, 3, 1, 2, 3]);
    expect(told.filter(([name]) => name === 'resent')).toHaveLength(3);
    expect(told.find(([name]) => name === 'disconnected')![1]).toMatchObject({
      error: { code: 'unavailable' },
    });
    expect(told.filter(([name]) => name === 'connected')).toHaveLength(2);
    expect(witnessed).toEqual([
      'opened',
      'sent 1',
      'sent 2',
      'sent 3',
      'closed',
      'opened',
      'sent 1',
      'sent 2',
      'sent 3',
      'answered 1 in 6',
      'answered 2 in 6',
      'answered 3 in 6',
    ]);
  });

  test('and stays away: an image waits as long as its patience, with the reason', async () => {
    const cloud = new Cloud();
    const here = link(cloud.dial, { reconnect: { firstDelayMs: 1, maxDelayMs: 1, patienceMs: 300 } });
    await here.open();
    cloud.kill();
    await expect(here.request({ image })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/no Raccoon cloud answers at memory/),
    });
    const { dialled } = cloud;
    await until(() => cloud.dialled > dialled); // it is looked for still
    cloud.start();
    expect((await here.request({ image })).error).toBeUndefined();
  });

  test('by one image, again and again: that image fails, and others do not', async () => {
    const cloud = new Cloud();
    const here = link(cloud.dial, { reconnect: { firstDelayMs: 1, maxSends: 3 } });
    hold(cloud.service);
    const poison = here.request({ image });
    poison.catch(() => undefined);
    for (let sends = 1; sends <= 3; sends++) {
      await until(() => cloud.service.asked.length === sends);
      cloud.kill();
      cloud.start();
    }
    await expect(poison).rejects.toMatchObject({ code: 'unavailable' });
    cloud.service.gate = Promise.resolve();
    expect((await here.request({ image })).error).toBeUndefined();
  });

  test('with reconnect off: what was sent fails, the next opens the link', async () => {
    const cloud = new Cloud();
    const { link: here, told } = watched([cloud.dial], { reconnect: false });
    hold(cloud.service);
    const flying = here.request({ image });
    flying.catch(() => undefined);
    await until(() => cloud.service.asked.length === 1);
    cloud.kill();
    await expect(flying).rejects.toMatchObject({ code: 'unavailable' });
    await expect(here.request({ image })).rejects.toMatchObject({ code: 'unavailable' });
    expect(cloud.dialled).toBe(2);
    cloud.start();
    cloud.service.gate = Promise.resolve();
    expect((await here.request({ image })).error).toBeUndefined();
    expect(told.filter(([name]) => name === 'resent' || name === 'reconnecting')).toEqual([]);
  });

  test('of two: the other one has the rest', async () => {
    const [one, other] = [new Cloud(), new Cloud()];
    const { link: here } = watched([one.dial, other.dial]);
    hold(one.service);
    const flying = here.request({ image });
    await until(() => one.service.asked.length === 1);
    one.kill();
    expect((await flying).error).toBeUndefined();
    expect(other.service.asked).toHaveLength(1);
  });
});

test('a stream that breaks before anybody could use it is no stream', async () => {
  const cloud = new Cloud();
  const unlucky = (): Dialled => {
    const transport = cloud.dial();
    return {
      async openStream(first, options) {
        const stream = await transport.openStream(first, options);
        if (cloud.dialled < 3) {
          cloud.kill();
          cloud.start();
          for (let i = 0; i < 3; i++) await turn();
        }
        return stream;
      },
      close: () => transport.close(),
    };
  };
  expect((await link(unlucky).request({ image })).error).toBeUndefined();
  expect(cloud.dialled).toBe(3);
});

test('opening tries every way once, and no longer', async () => {
  const [one, other] = [new Cloud(), new Cloud()];
  one.kill();
  const first = link(one.dial, { replicas: ways([one.dial, other.dial]) });
  await first.open();
  expect([one.dialled, other.dialled]).toEqual([1, 1]);
  await first.close();
  other.kill();
  await expect(link(one.dial, { replicas: ways([one.dial, other.dial]) }).open()).rejects.toMatchObject({
    code: 'unavailable',
  });
  expect([one.dialled, other.dialled]).toEqual([2, 2]);
});

describe('a cloud that leaves in good order', () => {
  test('what it refuses goes once more; what it took is answered by it', async () => {
    const cloud = new Cloud();
    const { link: here, told } = watched([cloud.dial]);
    cloud.service.refusals.push('draining');
    expect((await here.request({ image })).error).toBeUndefined();
    expect(cloud.dialled).toBe(2);
    const release = hold(cloud.service);
    const flying = here.request({ image });
    await until(() => cloud.service.asked.length === 3);
    const drained = cloud.drain();
    for (let i = 0; i < 5; i++) await turn(); // the GoAway is there
    release();
    expect((await flying).error).toBeUndefined();
    await drained;
    expect(told.filter(([name]) => name === 'resent')).toHaveLength(1);
    expect(cloud.service.asked).toHaveLength(3);
  });

  test('one that always refuses is asked no more often than maxSends', async () => {
    const cloud = new Cloud();
    cloud.service.refusals.push(...Array.from({ length: 4 }, () => 'draining' as const));
    const here = link(cloud.dial, { reconnect: { firstDelayMs: 1, maxSends: 4 } });
    expect((await here.request({ image })).error).toMatchObject({ code: 'draining' });
    expect(cloud.service.asked).toHaveLength(4);
  });

  test('over gRPC: the only cloud leaves, what is in flight is answered', async () => {
    const service = new Echo();
    const server = await serveGrpc(service, { listen: '127.0.0.1:0' });
    const here = link(() => connectGrpc(server.address), {
      reconnect: { firstDelayMs: 1, patienceMs: 300 },
    });
    await here.open();
    const flying = here.request({ image });
    while (service.peers.size === 0) await turn();
    const drained = server.drain(600_000);
    expect((await flying).error).toBeUndefined();
    await drained;
    await expect(here.request({ image })).rejects.toMatchObject({
      code: expect.stringMatching(/^(unavailable|draining)$/),
    });
  });
});

test('a request whose worker died goes again over the same stream; one that was shed does not', async () => {
  const cloud = new Cloud();
  const { link: here, told } = watched([cloud.dial]);
  cloud.service.refusals.push('unavailable');
  expect((await here.request({ image })).error).toBeUndefined();
  expect(told).toMatchObject([
    ['connected', {}],
    ['resent', { code: 'unavailable', sends: 1 }],
  ]);
  cloud.service.refusals.push('overloaded');
  expect((await here.request({ image })).error).toMatchObject({ code: 'overloaded' });
});

test('a link that is half dead: silence makes it another one', async () => {
  const cloud = new Cloud();
  const { link: here, told } = watched([cloud.dial], { reconnect: { firstDelayMs: 1, silenceMs: 30 } });
  hold(cloud.service); // connected, and nothing comes
  const answer = here.request({ image });
  await until(() => cloud.service.asked.length === 1);
  cloud.service.gate = Promise.resolve();
  expect((await answer).error).toBeUndefined();
  expect(cloud.dialled).toBe(2);
  expect(told.find(([name]) => name === 'disconnected')![1]).toMatchObject({
    error: { code: 'unavailable', cause: { message: expect.stringMatching(/said nothing for 0\.03 s/) } },
  });
  await new Promise((resolve) => setTimeout(resolve, 60)); // nothing to answer: no silence
  expect(cloud.dialled).toBe(2);
});

describe('a cloud that will not have us', () => {
  test('is no matter of patience, and may change its mind', async () => {
    const cloud = new Cloud();
    const { link: here } = watched([cloud.dial]);
    await here.open();
    cloud.service.closed = new TransportError('unknown-codec', 'another bundle');
    cloud.kill();
    cloud.start();
    await expect(here.request({ image })).rejects.toMatchObject({ code: 'unknown-codec' });
    cloud.service.closed = undefined;
    await until(() => cloud.service.closed === undefined);
    for (;;) {
      const answer = await here.request({ image }).catch((error: unknown) => error);
      if (!(answer instanceof TransportError)) break;
    }
  });
});

describe('aborted', () => {
  test('before, while it waits for a link, while it waits for room, and in flight', async () => {
    const cloud = new Cloud();
    cloud.kill();
    cloud.start({ maxInFlight: 1 });
    const { link: here, witnessed } = watched([cloud.dial]);
    await expect(here.request({ image }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    });
    const stops = Array.from({ length: 3 }, () => new AbortController());
    const reason = new TransportError('deadline', 'too late');
    const release = hold(cloud.service);
    const early = here.request({ image }, { signal: stops[0]!.signal });
    stops[0]!.abort(reason); // nothing is open yet
    await expect(early).rejects.toBe(reason);
    const flying = here.request({ image }, { signal: stops[1]!.signal });
    const waiting = here.request({ image }, { signal: stops[2]!.signal });
    await until(() => cloud.service.asked.length === 1);
    stops[2]!.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    stops[1]!.abort();
    await expect(flying).rejects.toMatchObject({ code: 'cancelled' });
    await until(() => cloud.service.cancelled === 1);
    release();
    expect((await here.request({ image })).error).toBeUndefined();
    expect(cloud.service.asked.map(({ id }) => id)).toEqual([2, 4]);
    expect(witnessed).toEqual([
      'forgotten 1',
      'opened',
      'sent 2',
      'forgotten 3',
      'forgotten 2',
      'answered 2 in 6',
      'sent 4',
      'answered 4 in 6',
    ]);
  });

  test('while it opens', async () => {
    const silent: Dialled = {
      openStream: (_, { signal } = {}) =>
        new Promise((_resolve, reject) => {
          signal!.addEventListener('abort', () => reject(TransportError.cancelled(signal!)));
        }),
      close: async () => undefined,
    };
    const stop = new AbortController();
    const opening = link(() => silent).open(stop.signal);
    stop.abort();
    await expect(opening).rejects.toMatchObject({ code: 'cancelled' });
    const here = link(() => silent);
    const asked = here.request({ image });
    asked.catch(() => undefined);
    await here.close();
    await expect(asked).rejects.toMatchObject({ code: 'cancelled' });
    await expect(here.request({ image })).rejects.toMatchObject({ code: 'cancelled' });
  });
});

test('the cloud is told what is left of the time, each time', async () => {
  const cloud = new Cloud();
  const here = link(cloud.dial);
  cloud.service.refusals.push('draining');
  await here.request({ image }, { deadlineAt: performance.now() + 60_000 });
  const [first, second] = cloud.service.asked.map(({ timeoutMs }) => timeoutMs!);
  expect(first).toBeLessThanOrEqual(60_000);
  expect(second).toBeLessThanOrEqual(first!);
  await here.request({ image });
  expect(cloud.service.asked[2]!.timeoutMs ?? 0).toBe(0);
});

/** Clouds in memory, and what a name would say of them. */
class Fleet implements Replicas {
  readonly fixed = false;
  readonly clouds: readonly Cloud[];
  looked = 0;
  #ways: readonly Way[] = [];
  #changed: (error?: TransportError) => void = () => undefined;

  constructor(count: number) {
    this.clouds = Array.from({ length: count }, () => new Cloud());
    this.set(this.clouds);
  }

  get ways(): readonly Way[] {
    return this.#ways;
  }

  set(clouds: readonly Cloud[]): void {
    this.#ways = clouds.map(
      ({ dial }) => this.#ways.find((way) => way.dial === dial) ?? { address: 'a replica', dial },
    );
    this.#changed();
  }

  async open(changed: (error?: TransportError) => void): Promise<void> {
    this.#changed = changed;
  }

  look(): void {
    this.looked++;
  }

  close(): void {
    this.#changed = () => undefined;
  }
}

const asked = (clouds: readonly Cloud[]): number[] => clouds.map(({ service }) => service.asked.length);

/** A link with a line to each of so many clouds. */
async function toSeveral(count: number, options: Partial<LinkOptions> = {}) {
  const replicas = new Fleet(count);
  const { clouds } = replicas;
  const made = watched([], { replicas, streams: undefined, ...options });
  await made.link.open();
  const connected = (): number => made.told.filter(([name]) => name === 'connected').length;
  await until(() => connected() === (options.streams ?? count));
  return { ...made, replicas, clouds, connected };
}

describe('several replicas', () => {
  test('share the images, the same number each', async () => {
    const { link: here, clouds } = await toSeveral(3);
    const release = clouds.map(({ service }) => hold(service));
    const answers = Array.from({ length: 9 }, (_, i) => here.request({ image: ofByte(i) }));
    await until(() => asked(clouds).every((count) => count === 3));
    for (const go of release) go();
    expect((await Promise.all(answers)).map(({ result }) => result?.margin)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8,
    ]);
  });

  test('one is killed: its images go to the others, once, and it is looked for', async () => {
    const { link: here, clouds, told, witnessed, replicas } = await toSeveral(3);
    const [one, ...others] = clouds as [Cloud, Cloud, Cloud];
    const release = clouds.map(({ service }) => hold(service));
    const answers = Array.from({ length: 9 }, (_, i) => here.request({ image: ofByte(i) }));
    await until(() => asked(clouds).every((count) => count === 3));
    one.kill();
    await until(() => asked(others).reduce((a, b) => a + b) === 9);
    for (const go of release) go();
    expect((await Promise.all(answers)).map(({ result }) => result?.margin)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8,
    ]);
    expect(told.filter(([name]) => name === 'resent')).toHaveLength(3);
    expect(replicas.looked).toBeGreaterThan(0);
    const ups = witnessed.filter((what) => what === 'closed' || what === 'opened');
    expect(ups).toEqual(['opened', 'closed', 'opened']);
    const { dialled } = one;
    await until(() => one.dialled > dialled + 1); // again and again
    one.start();
    await until(() => told.filter(([name]) => name === 'connected').length === 4);
  });

  test('one leaves in good order: what it has it answers, the next go to the others', async () => {
    const { link: here, clouds, told } = await toSeveral(2);
    const [one, other] = clouds as [Cloud, Cloud];
    const release = clouds.map(({ service }) => hold(service));
    const answers = Array.from({ length: 4 }, () => here.request({ image }));
    await until(() => asked(clouds).every((count) => count === 2));
    const drained = one.drain();
    for (let i = 0; i < 5; i++) await turn(); // the GoAway is there
    const later = [here.request({ image }), here.request({ image })];
    await until(() => asked([other])[0] === 4);
    for (const go of release) go();
    for (const { error } of await Promise.all([...answers, ...later])) expect(error).toBeUndefined();
    await drained;
    const codes = told
      .filter(([name]) => name === 'resent')
      .map(([, detail]) => (detail as { code: string }).code);
    expect(codes.every((code) => code === 'draining')).toBe(true); // by the stream itself, before it was sent
    expect(asked([one])).toEqual([2]);
  });

  test('one that answers errors is left alone for a while, longer each time', async () => {
    const { link: here, clouds } = await toSeveral(2, {
      reconnect: { firstDelayMs: 60_000, maxDelayMs: 60_000 },
    });
    const [broken, good] = clouds as [Cloud, Cloud];
    broken.service.refusals.push(...Array.from({ length: 99 }, () => 'unavailable' as const));
    for (let i = 0; i < 20; i++) expect((await here.request({ image })).error).toBeUndefined();
    expect(asked([broken])[0]).toBeLessThanOrEqual(1);
    expect(asked([good])).toEqual([20]);
  });

  test('an image that one sheds goes to another; what all shed is an answer', async () => {
    const { link: here, clouds } = await toSeveral(2, {
      reconnect: { firstDelayMs: 60_000, maxDelayMs: 60_000 },
    });
    for (const { service } of clouds) service.refusals.push('overloaded');
    expect((await here.request({ image })).error).toMatchObject({ code: 'overloaded' });
    expect(asked(clouds)).toEqual([1, 1]);
    expect((await here.request({ image })).error).toBeUndefined();
  });

  test('one that is added is used, one that is gone is not', async () => {
    const { link: here, clouds, replicas, connected } = await toSeveral(1);
    const [one] = clouds as [Cloud];
    const added = new Cloud();
    replicas.set([one, added]);
    await until(() => connected() === 2);
    const release = hold(one.service);
    const first = here.request({ image });
    const second = here.request({ image });
    await until(() => asked([one, added]).every((count) => count === 1));
    replicas.set([added]);
    for (let i = 0; i < 5; i++) expect((await here.request({ image })).error).toBeUndefined();
    expect(asked([one, added])).toEqual([1, 6]);
    release(); // what the other one had is answered all the same
    for (const { error } of await Promise.all([first, second])) expect(error).toBeUndefined();
  });

  test('one stream: the next replica when one is gone, and no other connection', async () => {
    const { link: here, clouds, connected } = await toSeveral(3, { streams: 1 });
    await here.request({ image });
    expect(clouds.map(({ dialled }) => dialled)).toEqual([1, 0, 0]);
    clouds[0]!.kill();
    await here.request({ image });
    expect(clouds.map(({ dialled }) => dialled)).toEqual([1, 1, 0]);
    expect(connected()).toBe(2);
  });

  test('more streams than addresses: several to each, as through a balancer', async () => {
    const { clouds } = await toSeveral(1, { streams: 3 });
    await until(() => clouds[0]!.dialled === 3);
  });

  test('no more than eight, unless it is said', async () => {
    const replicas = new Fleet(12);
    const { link: here, told } = watched([], { replicas, streams: undefined });
    await here.open();
    await until(() => told.length === 8);
    for (let i = 0; i < 20; i++) await turn();
    expect(replicas.clouds.filter(({ dialled }) => dialled > 0)).toHaveLength(8);
  });

  test('all are gone: patience, and then an error', async () => {
    const reconnect = { firstDelayMs: 1, maxDelayMs: 5, patienceMs: 100 };
    const { link: here, clouds, connected } = await toSeveral(2, { reconnect });
    for (const cloud of clouds) cloud.kill();
    await expect(here.request({ image })).rejects.toMatchObject({ code: 'unavailable' });
    clouds[1]!.start();
    await until(() => connected() === 3);
    expect((await here.request({ image })).error).toBeUndefined();
  });

  test('one will not have us, the other does: no image waits for the first', async () => {
    const replicas = new Fleet(2);
    const { clouds } = replicas;
    clouds[0]!.service.closed = new TransportError('unknown-codec', 'another bundle');
    const { link: here } = watched([], { replicas, streams: undefined });
    await here.open();
    expect((await here.request({ image })).error).toBeUndefined();
    expect(asked(clouds)).toEqual([0, 1]);
  });
});

test('settings that make no sense', () => {
  const dial = new Cloud().dial;
  expect(() => link(dial, { reconnect: { patienceMs: 0 } })).toThrow(/reconnect\.patienceMs/);
  expect(() => link(dial, { reconnect: { maxSends: Number.NaN } })).toThrow(/reconnect\.maxSends/);
});
