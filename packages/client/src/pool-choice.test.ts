import type { Load } from '@raccoon/transport';
import { describe, expect, test } from 'vitest';
import { choose, type Candidate } from './pool-choice.ts';

interface Named extends Candidate {
  readonly name: string;
}

const idle = { unanswered: 0, oldestMs: 0, rttMs: 0, batchMs: 0, silentMs: 0, restMs: 0, load: undefined };
const line = (name: string, known: Partial<Candidate> = {}): Named => ({ name, ...idle, ...known });
const load = (imagesPerSecond: number, rest: Partial<Load> = {}): Load => ({
  queueMs: 0,
  imagesPerSecond,
  utilisation: 0,
  draining: false,
  ...rest,
});
const chosen = (lines: readonly Named[], random = 0): string | undefined => choose(lines, () => random)?.name;

describe('an image goes where its answer can be expected first', () => {
  test.each<[string, Named[], string | undefined]>([
    ['none', [], undefined],
    ['the only one, whatever it is like', [line('a', { restMs: 1e6 })], 'a'],
    ['the fewest unanswered', [line('a', { unanswered: 2 }), line('b', { unanswered: 1 })], 'b'],
    [
      'three times as fast, three times as many',
      [line('slow', { unanswered: 1, load: load(100) }), line('fast', { unanswered: 4, load: load(300) })],
      'fast', // 5/300 s before 2/100 s
    ],
    [
      'and no more than that',
      [line('slow', { unanswered: 1, load: load(100) }), line('fast', { unanswered: 6, load: load(300) })],
      'slow',
    ],
    ['near before far', [line('far', { rttMs: 80 }), line('near', { rttMs: 5 })], 'near'],
    [
      'far before a queue',
      [line('far', { rttMs: 80, load: load(100) }), line('near', { unanswered: 9, load: load(100) })],
      'far',
    ],
    [
      'what others have sent counts half',
      [line('a', { load: load(100, { queueMs: 100 }) }), line('b', { unanswered: 4, load: load(100) })],
      'b',
    ],
    [
      'an older cloud is taken for an average one',
      [line('old', { batchMs: 60 }), line('a', { unanswered: 1, load: load(100) })],
      'old',
    ],
    [
      'where all are older, by what their batches take',
      [line('slow', { unanswered: 1, batchMs: 60 }), line('fast', { unanswered: 4, batchMs: 20 })],
      'fast',
    ],
    [
      'one that does not answer is left alone before any report says so',
      [
        line('a', { unanswered: 1, oldestMs: 900, load: load(1000) }),
        line('b', { unanswered: 20, load: load(100) }),
      ],
      'b',
    ],
    ['so is one that fails', [line('a', { restMs: 100 }), line('b', { unanswered: 50 })], 'b'],
    ['until that costs more', [line('a', { restMs: 100 }), line('b', { unanswered: 150 })], 'a'],
    [
      'one that leaves is for when there is no other',
      [line('a', { load: load(100, { draining: true }) }), line('b', { unanswered: 60, load: load(100) })],
      'b',
    ],
  ])('%s', (_, lines, expected) => {
    expect(chosen(lines)).toBe(expected);
    expect(chosen(lines.toReversed())).toBe(expected);
  });

  test('what was slow, or far, is tried again some day', () => {
    const fast = line('fast', { load: load(300) });
    for (const known of [{ load: load(100) }, { load: load(300), rttMs: 20 }]) {
      const after = (silentMs: number): string | undefined =>
        chosen([fast, line('slow', { ...known, silentMs })], 0.99);
      expect(after(5000)).toBe('fast');
      expect(after(90_000)).toBe('slow'); // with the same chance
    }
  });

  test('one of those that are as good, at random', () => {
    const lines = [line('a'), line('b', { unanswered: 1 }), line('c', { rttMs: 0.05 })];
    expect([0, 0.49, 0.5, 0.99].map((random) => chosen(lines, random))).toEqual(['a', 'a', 'c', 'c']);
  });
});

// ---- many clients and replicas, event by event ----

/** The nth random number of a seed, 0 to 1 (mulberry32). */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Replica {
  readonly speed: number;
  readonly waiting: Image[];
  busy: boolean;
  images: number;
  msPerImage: number;
}

interface Image {
  readonly at: number;
  readonly line: SimulatedLine;
}

class SimulatedLine implements Candidate {
  readonly replica: Replica;
  readonly #now: () => number;
  readonly sent: Image[] = [];
  readonly rttMs: number = ROUND_TRIP_MS;
  readonly batchMs: number = 0;
  readonly restMs: number = 0;
  load: Load | undefined;
  answeredAt = 0;

  constructor(replica: Replica, now: () => number) {
    this.replica = replica;
    this.#now = now;
  }

  get unanswered(): number {
    return this.sent.length;
  }

  get oldestMs(): number {
    return this.sent[0] ? this.#now() - this.sent[0].at : 0;
  }

  get silentMs(): number {
    return this.#now() - this.answeredAt;
  }

  report(): void {
    const { images, msPerImage } = this.replica;
    if (msPerImage === 0) return;
    this.load = load(1000 / msPerImage, { queueMs: Math.max(0, images - this.sent.length) * msPerImage });
  }
}

type Choose = (lines: readonly SimulatedLine[], random: () => number) => SimulatedLine | undefined;

const ROUND_TRIP_MS = 10;
const MAX_BATCH = 16;
/** Batches of 1 and 16 take 5.6 and 60 ms, as the default bundle's do. */
const batchMs = (images: number): number => 2 + 3.63 * images;

/** Poisson arrivals at clients, which all have a line to all replicas: p99 of the answers, and the share of each replica. */
function simulate(clients: number, speeds: readonly number[], imagesPerSecond: number, policy: Choose) {
  const random = mulberry32(7);
  let now = 0;
  const events: { at: number; run: () => void }[] = [];
  const at = (time: number, run: () => void): void => {
    let i = events.length; // few at a time: insertion from the end
    while (i > 0 && events[i - 1]!.at < time) i--;
    events.splice(i, 0, { at: time, run });
  };
  const replicas = speeds.map((speed): Replica => ({
    speed,
    waiting: [],
    busy: false,
    images: 0,
    msPerImage: 0,
  }));
  const edges = Array.from({ length: clients }, () =>
    replicas.map((each) => new SimulatedLine(each, () => now)),
  );
  const times: number[] = [];
  const answered = new Map(replicas.map((replica) => [replica, 0]));

  const work = (replica: Replica): void => {
    if (replica.busy || replica.waiting.length === 0) return;
    const batch = replica.waiting.splice(0, MAX_BATCH);
    const ms = batchMs(batch.length) / replica.speed;
    replica.busy = true;
    at(now + ms, () => {
      const each = ms / batch.length;
      replica.msPerImage += (replica.msPerImage === 0 ? 1 : 0.2) * (each - replica.msPerImage);
      replica.images -= batch.length;
      replica.busy = false;
      for (const image of batch) at(now + ROUND_TRIP_MS / 2, () => answer(image));
      work(replica);
    });
  };
  const answer = (image: Image): void => {
    const { sent, replica } = image.line;
    sent.splice(sent.indexOf(image), 1);
    image.line.answeredAt = now;
    if (image.at < 5000) return; // until it has settled
    times.push(now - image.at);
    answered.set(replica, answered.get(replica)! + 1);
  };
  const arrive = (): void => {
    at(now - (1000 * Math.log(1 - random())) / imagesPerSecond, arrive);
    const chosenLine = policy(edges[Math.floor(random() * clients)]!, random)!;
    const image = { at: now, line: chosenLine };
    chosenLine.sent.push(image);
    at(now + ROUND_TRIP_MS / 2, () => {
      chosenLine.replica.images++;
      chosenLine.replica.waiting.push(image);
      work(chosenLine.replica);
    });
  };
  const report = (each: SimulatedLine): void => {
    each.report();
    at(now + 1000, () => report(each));
  };
  arrive();
  for (const each of edges.flat()) at(1000 * random(), () => report(each));
  while (times.length < 10_000) {
    const event = events.pop()!;
    now = event.at;
    event.run();
  }
  const p99 = times.toSorted((a, b) => a - b)[Math.floor(0.99 * times.length)]!;
  return { p99, shares: replicas.map((replica) => answered.get(replica)! / times.length) };
}

const atRandom: Choose = (lines, random) => lines[Math.floor(random() * lines.length)];

describe('simulated', () => {
  const three = [1, 1, 1];
  const oneSlow = [1 / 3, 1, 1];

  test.each([1, 6])(
    '%i clients, three replicas, one of them slowed 3 times: p99 stays within 1.5 times',
    (clients) => {
      const before = simulate(clients, three, 300, choose);
      for (const share of before.shares) expect(share).toBeCloseTo(1 / 3, 1);
      expect(simulate(clients, oneSlow, 300, choose).p99 / before.p99).toBeLessThan(1.5);
      expect(simulate(clients, oneSlow, 300, atRandom).p99 / before.p99).toBeGreaterThan(3);
    },
  );

  test('near their capacity, the share of a slow one is that of its capacity', () => {
    const { shares } = simulate(1, oneSlow, 560, choose); // of 620 that they can do
    expect(shares[0]).toBeGreaterThan(0.75 / 7);
    expect(shares[0]).toBeLessThan(1.1 / 7);
  });

  test('a hundred clients do not run all to the same replica', () => {
    const speeds = Array.from({ length: 9 }, () => 1);
    const { p99, shares } = simulate(100, speeds, 2000, choose);
    expect(p99).toBeLessThan(1.1 * simulate(100, speeds, 2000, atRandom).p99);
    for (const share of shares) expect(share).toBeCloseTo(1 / 9, 1);
  });
});
