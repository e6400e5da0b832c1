import { openBundle } from '@raccoon/bundle/node';
import {
  EdgeError,
  type Action,
  type AnalysedImage,
  type Edge,
  type EncoderChoice,
  type Feedback,
  type ImageInput,
  type Policy,
} from '@raccoon/edge';
import {
  TransportError,
  type InferenceService,
  type InferRequest,
  type InferResponse,
} from '@raccoon/transport';
import { serveMemory } from '@raccoon/transport/memory';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { isFailure, type Outcome } from './classification.ts';
import { choosePoint, createClient, type Client, type ClientOptions } from './client.ts';

// Photos through the real edge and the real cloud are in test/e2e/client.test.ts. Here the policy, the encoder and the cloud
// do what a test says.

// The shipped bundle without what was calibrated of its exit: a test that wants a calibration brings its own.
const shipped = await openBundle('imagenet1k-mobilenet');
const manifest = { ...shipped.manifest, exit: { output: shipped.manifest.exit!.output } };
const bundle = { ...shipped, manifest };
const classes = manifest.classes.length;

/** Logits (K) whose first class is `index`. */
const logitsFor = (index: number, height = 12): Float32Array =>
  Float32Array.from({ length: classes }, (_, k) => (k === index ? height : 0));

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

const EXIT = 7; // the local exit's first class
const CLOUD = 11; // the cloud's

/** An edge whose images are names; "bad" is none. */
class PaperEdge implements Edge {
  readonly bundle: Edge['bundle'] = bundle;
  prepared = 0;
  analysed: { exit: boolean | undefined }[] = [];
  encoderMs = 3;
  gate: Promise<void> = Promise.resolve();
  closed = false;

  readonly loaded: EncoderChoice[] = [];
  async load(encoder: EncoderChoice): Promise<void> {
    this.loaded.push(encoder);
  }

  async prepare(image: ImageInput): ReturnType<Edge['prepare']> {
    this.prepared++;
    await turn();
    if (image === 'bad') throw new EdgeError('not-an-image', `${image} is not a photo`);
    return { pixels: new Uint8Array(), imageMs: 2 };
  }

  analyse: Edge['analyse'] = async (_, encoder, options): Promise<AnalysedImage> => {
    this.analysed.push({ exit: options?.exit });
    await this.gate;
    const { encoderMs } = this;
    const exitLogits = options?.exit ? logitsFor(EXIT) : undefined;
    return {
      encoder,
      latent: new Float32Array(),
      imageMs: 2,
      encoderMs,
      ...(exitLogits && { exitLogits }),
    };
  };

  code: Edge['code'] = ({ imageMs, encoderMs, exitLogits }, point) => ({
    slices: [new Uint8Array(100 + point)],
    symbols: new Int16Array(),
    ...(exitLogits && { exitLogits }),
    point,
    bytes: 100 + point,
    bpp: 0.1,
    imageMs,
    encoderMs,
    codecMs: 1,
  });

  encode(): never {
    throw new Error('not asked for');
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

/** Answers with CLOUD, or as it is told. */
class PaperCloud implements InferenceService {
  readonly asked: InferRequest[] = [];
  cancelled = 0;
  gate: Promise<void> = Promise.resolve();
  refusal: { code: 'overloaded' | 'deadline'; message: string; retryAfterMs: number } | undefined;
  closed: TransportError | undefined;

  hello(): ReturnType<InferenceService['hello']> {
    if (this.closed) throw this.closed;
    return { protocol: 1, codecIds: [bundle.codec.id], bundle: manifest.name, bundleVersion: '9.9.9' };
  }

  infer: InferenceService['infer'] = async (request, { signal }): Promise<InferResponse> => {
    this.asked.push(request);
    signal.addEventListener('abort', () => this.cancelled++);
    await this.gate;
    const answer = { id: request.id, queueMs: 1, decodeMs: 2, inferMs: 3, bundleVersion: '9.9.9' };
    if (this.refusal) return { ...answer, error: this.refusal };
    const top = Array.from({ length: request.topK ?? 5 }, (_, i) => ({
      index: CLOUD + i,
      probability: i === 0 ? 0.5 : 0.01,
      logit: i === 0 ? 3 : 3 + Math.log(0.02),
    }));
    const logits = request.wantLogits ? logitsFor(CLOUD) : undefined;
    return { ...answer, result: { top, margin: 0.49, ...(logits && { logits }) } };
  };

  getBundle(): never {
    throw new TransportError('not-found', 'none');
  }

  // oxlint-disable-next-line require-yield
  async *fetchFile(): AsyncGenerator<Uint8Array> {
    throw new TransportError('not-found', 'none');
  }
}

/** Does with every image what `next` says, and writes down what it hears. */
class PaperPolicy implements Policy {
  readonly name = 'paper';
  next: Action = { kind: 'send', point: 0, reason: 'as told' };
  readonly heard: Feedback[] = [];
  bytes: number[] = [];
  chooseEncoder: Policy['chooseEncoder'] = () => ({ n: manifest.points[0]!.n, precision: 'float32' });
  chooseAction: Policy['chooseAction'] = (_, sighting) => {
    this.bytes.push(sighting.bytesAt(0), sighting.bytesAt(0));
    return this.next;
  };
  observe: Policy['observe'] = (feedback) => void this.heard.push(feedback);
  save: Policy['save'] = () => ({});
  restore: Policy['restore'] = () => undefined;
}

let edge: PaperEdge;
let cloud: PaperCloud;
let policy: PaperPolicy;
let server: ReturnType<typeof serveMemory>;
const opened: Client[] = [];
beforeEach(() => {
  edge = new PaperEdge();
  cloud = new PaperCloud();
  policy = new PaperPolicy();
  server = serveMemory(cloud);
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

async function open(options: ClientOptions = { policy }): Promise<Client> {
  const made = await createClient(edge, [() => server.connect()], {
    reconnect: { firstDelayMs: 1, maxDelayMs: 5 },
    ...options,
  });
  opened.push(made);
  return made;
}

/** Holds something back; returns what lets it go. */
function hold(what: { gate: Promise<void> }): () => void {
  let release!: () => void;
  what.gate = new Promise((resolve) => (release = resolve));
  return release;
}

async function all(outcomes: AsyncIterable<Outcome>): Promise<Outcome[]> {
  const list: Outcome[] = [];
  for await (const outcome of outcomes) list.push(outcome);
  return list.toSorted((a, b) => a.index - b.index);
}

const codeOf = (outcome: Outcome): unknown =>
  isFailure(outcome) ? (outcome.error as { code?: unknown }).code : outcome.source;

test("what is left out of an operating point is the default point's", () => {
  const { points, defaultPoint } = manifest;
  const fallback = points[defaultPoint]!;
  expect(choosePoint(bundle)).toBe(defaultPoint);
  for (const [p, { n, q, precision }] of points.entries()) {
    expect(choosePoint(bundle, n, q, precision)).toBe(p);
    if (precision !== fallback.precision) continue;
    expect(choosePoint(bundle, n, q)).toBe(p);
    if (q === fallback.q) expect(choosePoint(bundle, n, undefined)).toBe(p);
    if (n === fallback.n) expect(choosePoint(bundle, undefined, q)).toBe(p);
  }
  expect(() => choosePoint(bundle, 99, undefined)).toThrow(
    expect.objectContaining({ code: 'unknown-point' }),
  );
});

describe('what the policy says', () => {
  test('nothing asked for: the default point, and the local exit does not run', async () => {
    const here = await open({});
    expect(here.policy.name).toBe('fixed');
    expect(await here.classify('a')).toMatchObject({
      image: 'a',
      index: 0,
      source: 'cloud',
      degraded: false,
      point: manifest.defaultPoint,
      bytes: 100 + manifest.defaultPoint,
      imageMs: 2,
      encodeMs: 4,
      queueMs: 1,
      inferMs: 3,
      top: [{ index: CLOUD, ...manifest.classes[CLOUD] }, {}, {}, {}, {}],
      bundleVersion: '9.9.9',
    });
    expect(edge.analysed).toEqual([{ exit: false }]);
    expect(cloud.asked[0]!.timeoutMs ?? 0).toBe(0);
  });

  test('auto, a threshold, or a name', async () => {
    expect((await open({ blocks: 'auto' })).policy.name).toBe('auto');
    expect(edge.loaded).toHaveLength(new Set(manifest.points.map(({ encoder }) => encoder)).size);
    edge.loaded.length = 0;
    expect((await open({ rate: 'auto', blocks: 8 })).policy.name).toBe('auto');
    expect(edge.loaded).toEqual([
      { n: 8, precision: 'float32' },
      { n: 8, precision: 'int8' },
    ]);
    expect((await open({ exitThreshold: 0.3 })).policy.name).toBe('threshold');
    expect((await open({ policy: 'sliding-ucb' })).policy.name).toBe('sliding-ucb');
  });

  test('send: the answer, why, and one feedback', async () => {
    const here = await open();
    expect(await here.classify('a')).toMatchObject({ source: 'cloud', point: 0, reason: 'as told' });
    expect(policy.bytes).toEqual([100, 100]);
    expect(policy.heard).toHaveLength(1);
    expect(policy.heard[0]).toMatchObject({
      action: policy.next,
      encodeMs: 5,
      bytes: 100,
      inTime: true,
      cloudConfidence: 0.5,
      answerMs: expect.any(Number),
      exitConfidence: expect.closeTo(0.994, 3),
    });
    expect(here.stats()).toMatchObject({ up: true, unansweredMs: 0 });
  });

  test('slice by slice, where that is asked for: a cloud that is sure is not sent the rest', async () => {
    edge.code = ({ imageMs, encoderMs }, point, { channelEnds = [48] } = {}) => ({
      slices: channelEnds.map((end) => new Uint8Array(end)),
      symbols: new Int16Array(),
      point,
      bytes: 48,
      bpp: 0.1,
      imageMs,
      encoderMs,
      codecMs: 1,
    });
    const here = await open({ policy, progressive: { stopMargin: 0.3, shares: [0.5] } });
    const { bytes } = await here.classify('a');
    const [asked] = cloud.asked;
    expect(asked).toMatchObject({ moreSlices: true, stopMargin: 0.3 });
    expect(asked!.payload).toHaveLength(bytes);
    expect(bytes).toBeLessThan(48);
    expect(policy.heard).toMatchObject([{ bytes }]);
  });

  test('local: nothing is sent', async () => {
    policy.next = { kind: 'local', degraded: false, reason: 'it is sure' };
    const here = await open({ policy, topK: 2, wantLogits: true });
    const answer = await here.classify('a');
    expect(answer).toMatchObject({
      source: 'edge',
      degraded: false,
      reason: 'it is sure',
      bytes: 0,
      bpp: 0,
      roundTripMs: 0,
      top: [{ index: EXIT, ...manifest.classes[EXIT], logit: 12 }, {}],
      bundleVersion: manifest.version,
    });
    expect(answer.top).toHaveLength(2);
    expect(answer.point).toBeUndefined();
    expect(answer.logits).toEqual(logitsFor(EXIT));
    expect(cloud.asked).toEqual([]);
    expect(policy.heard).toMatchObject([{ bytes: 0, inTime: true }]);
    expect(policy.heard[0]).not.toHaveProperty('answerMs');
  });

  test('drop: a failure that says why', async () => {
    policy.next = { kind: 'drop', reason: 'no way' };
    const here = await open();
    await expect(here.classify('a')).rejects.toMatchObject({
      name: 'ClientError',
      code: 'dropped',
      message: 'no way',
    });
    expect(policy.heard).toMatchObject([{ bytes: 0, inTime: false }]);
  });

  test('cloud and exit together, where the bundle is calibrated for it', async () => {
    const calibration = [
      {
        n: manifest.points[0]!.n,
        precision: 'float32' as const,
        temperature: 2,
        threshold: 0.5,
        alpha: 2,
        ece: { before: 0.1, after: 0.01 },
        trusted: true,
        margins: [{ margin: 0, exitTop1: 50, cloudTop1: 60 }],
        measured: { data: 'x', calibrated: 1, reported: 1, q: 0, top1: 1, cloudTop1: 1, sent: 1 },
      },
    ];
    const here = await open({ policy, calibration, topK: 3 });
    const { top } = await here.classify('a');
    expect(cloud.asked[0]!.topK).toBe(20); // not 4 bytes for each of a thousand classes
    expect(top.map(({ index }) => index)).toEqual([CLOUD, EXIT, expect.any(Number)]);
    expect(top[0]!.logit).toBeCloseTo(2 * 3 + 0, 4);
    expect(policy.heard[0]!.exitConfidence).toBeCloseTo(Math.exp(6) / (Math.exp(6) + classes - 1), 4);
    const whole = await open({ policy, calibration, wantLogits: true });
    const { logits } = await whole.classify('a');
    expect(logits![CLOUD]).toBe(24);
    expect(logits![EXIT]).toBe(12);
  });
});

describe('a deadline', () => {
  test('that passes: the local exit answers, the cloud hears of it', async () => {
    const here = await open({ policy, deadlineMs: 60 });
    hold(cloud);
    const answer = await here.classify('a');
    expect(answer).toMatchObject({ source: 'edge', degraded: true, bytes: 100, point: 0 });
    expect(answer.reason).toBe('as told; no answer within 60 ms');
    await until(() => cloud.cancelled === 1);
    expect(cloud.asked[0]!.timeoutMs).toBeLessThanOrEqual(60);
    expect(policy.heard).toMatchObject([{ bytes: 100, inTime: false }]);
    expect(policy.heard[0]).not.toHaveProperty('answerMs');
  });

  test('without a local exit: a failure', async () => {
    const { exit: _, ...without } = manifest;
    (edge as { bundle: Edge['bundle'] }).bundle = { ...bundle, manifest: without };
    const here = await open({ policy, deadlineMs: 30 });
    hold(cloud);
    await expect(here.classify('a')).rejects.toMatchObject({ code: 'deadline' });
    expect(edge.analysed).toEqual([{ exit: false }]);
    expect(policy.heard).toMatchObject([{ inTime: false }]);
  });

  test('that is over before anything could be sent: nothing is', async () => {
    const here = await open({ policy, deadlineMs: 1 });
    edge.gate = new Promise((resolve) => setTimeout(resolve, 10));
    expect(await here.classify('a')).toMatchObject({ source: 'edge', degraded: true, bytes: 0 });
    expect(cloud.asked).toEqual([]);
  });

  test('that would pass while the next encoder runs: the local exit answers before', async () => {
    edge.encoderMs = 120_000;
    const here = await open({ policy, deadlineMs: 60_000 });
    hold(cloud);
    const first = here.classify('a');
    await until(() => cloud.asked.length === 1);
    const encoder = hold(edge);
    const second = here.classify('b');
    expect(await first).toMatchObject({ source: 'edge', degraded: true });
    cloud.gate = Promise.resolve();
    encoder();
    expect(await second).toMatchObject({ source: 'cloud' });
  });

  test('while the link is down', async () => {
    const here = await open({ policy, deadlineMs: 50 });
    server.close();
    expect(await here.classify('a')).toMatchObject({ source: 'edge', degraded: true, bytes: 0 });
  });
});

test('what the cloud refuses, the local exit answers; without one it is a failure', async () => {
  cloud.refusal = { code: 'overloaded', message: 'too much', retryAfterMs: 5 };
  const here = await open();
  expect(await here.classify('a')).toMatchObject({
    source: 'edge',
    degraded: true,
    reason: 'as told; too much',
  });
  const plain = await open({});
  await expect(plain.classify('a')).rejects.toMatchObject({
    name: 'RequestError',
    code: 'overloaded',
    retryAfterMs: 5,
  });
});

test('a clock that jumps changes nothing', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: 4e12 });
  try {
    const here = await open({ policy, deadlineMs: 60_000 });
    const lift = hold(cloud);
    const answer = here.classify('a');
    await until(() => cloud.asked.length === 1);
    vi.setSystemTime(0);
    lift();
    const { source, totalMs } = await answer;
    expect(source).toBe('cloud');
    expect(totalMs).toBeGreaterThan(0);
    expect(cloud.asked[0]!.timeoutMs).toBeLessThanOrEqual(60_000);
  } finally {
    vi.useRealTimers();
  }
});

describe('starting without a cloud', () => {
  test('with a local exit: it answers, until the cloud is there', async () => {
    server.close();
    const here = await open({ policy: 'auto', deadlineMs: 1000 });
    expect(here.stats().up).toBe(false);
    expect(await here.classify('a')).toMatchObject({ source: 'edge', degraded: true });
    const connected = new Promise((resolve) => here.events.on('connected', resolve));
    server = serveMemory(cloud);
    expect(await connected).toEqual({
      bundle: manifest.name,
      bundleVersion: '9.9.9',
      address: 'cloud 1',
    });
    expect(await here.classify('a')).toMatchObject({ source: 'cloud' });
  });

  test('without: an error; and one that waiting does not cure is one in any case', async () => {
    server.close();
    await expect(open({})).rejects.toMatchObject({ code: 'unavailable' });
    await expect(open({ policy, reconnect: false })).rejects.toMatchObject({ code: 'unavailable' });
    server = serveMemory(cloud);
    cloud.closed = new TransportError('unknown-codec', 'another bundle');
    await expect(open({ policy })).rejects.toMatchObject({ code: 'unknown-codec' });
  });
});

describe('many', () => {
  test('one that fails stops nothing, and the policy hears of the others alone', async () => {
    const here = await open();
    const outcomes = await all(here.classify(['a', 'bad', 'b']));
    expect(outcomes.map(codeOf)).toEqual(['cloud', 'not-an-image', 'cloud']);
    expect(policy.heard).toHaveLength(2);
  });

  test('images are taken as there is room: two at the encoder, maxInFlight in all', async () => {
    let taken = 0;
    function* source(): Generator<string> {
      for (;;) yield `image ${taken++}`;
    }
    const here = await open({ policy, maxInFlight: 5 });
    const encoder = hold(edge);
    const lift = hold(cloud);
    const outcomes = here.classify(source());
    const first = outcomes.next();
    await until(() => edge.analysed.length === 1);
    for (let i = 0; i < 10; i++) await turn();
    expect([taken, edge.prepared, edge.analysed.length]).toEqual([2, 2, 1]);
    encoder();
    await until(() => cloud.asked.length === 5);
    for (let i = 0; i < 10; i++) await turn();
    expect(taken).toBe(5);
    lift();
    expect((await first).done).toBe(false);
    for (let i = 0; i < 50; i++) await turn();
    expect(taken).toBe(5); // nobody asked for another outcome
    await outcomes.return(undefined);
  });

  test('leaving ends the source, and cancels what is in flight', async () => {
    let ended = false;
    async function* source(): AsyncGenerator<string> {
      try {
        yield 'a';
        yield 'b';
        await new Promise(() => undefined); // a camera that gives no more
      } finally {
        ended = true;
      }
    }
    const here = await open();
    const stop = new AbortController();
    hold(cloud);
    const outcomes = here.classify(source(), { signal: stop.signal });
    const next = outcomes.next();
    await until(() => cloud.asked.length === 2);
    stop.abort();
    await expect(next).rejects.toMatchObject({ name: 'TransportError', code: 'cancelled' });
    await until(() => cloud.cancelled === 2);
    expect(policy.heard.map(({ inTime }) => inTime)).toEqual([false, false]);
    expect(ended).toBe(false); // it still waits; nobody waits for it
    cloud.gate = Promise.resolve();
    for await (const outcome of here.classify(['x', 'y'])) {
      expect(codeOf(outcome)).toBe('cloud');
      break;
    }
  });
});

describe('aborted', () => {
  test('before it begins, in the encoder, without a link, in flight: cancelled, not degraded', async () => {
    const here = await open();
    const asked = (): [Promise<unknown>, AbortController] => {
      const stop = new AbortController();
      return [here.classify('a', { signal: stop.signal }), stop];
    };
    await expect(here.classify('a', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    });
    const encoder = hold(edge);
    const [encoding, first] = asked();
    await until(() => edge.analysed.length === 1);
    first.abort();
    encoder();
    await expect(encoding).rejects.toMatchObject({ code: 'cancelled' });
    expect(policy.heard).toEqual([]); // nothing was decided

    hold(cloud);
    const [flying, second] = asked();
    await until(() => cloud.asked.length === 1);
    second.abort();
    await expect(flying).rejects.toMatchObject({ code: 'cancelled' });
    server.close();
    await until(() => !here.stats().up);
    const [waiting, third] = asked();
    await until(() => policy.bytes.length === 4);
    third.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    expect(policy.heard).toHaveLength(2);
  });

  test('connecting; and later, the whole client', async () => {
    const stop = new AbortController();
    stop.abort();
    await expect(open({ signal: stop.signal })).rejects.toMatchObject({ code: 'cancelled' });
    const later = new AbortController();
    const here = await open({ policy, signal: later.signal });
    hold(cloud);
    const flying = here.classify('a');
    await until(() => cloud.asked.length === 1);
    later.abort();
    await expect(flying).rejects.toMatchObject({ code: 'cancelled' });
    await until(() => edge.closed);
  });
});

test('settings that make no sense', async () => {
  await expect(open({ deadlineMs: 0 })).rejects.toThrow(/deadlineMs must be above 0/);
  await expect(open({ maxInFlight: 0 })).rejects.toThrow(/maxInFlight/);
  await expect(open({ topK: 1.5 })).rejects.toThrow(/topK/);
  await expect(open({ blocks: 99 })).rejects.toMatchObject({ code: 'unknown-point' });
});
