import { describe, expect, test } from 'vitest';
import { LinkEstimate } from './link-estimate.ts';

/** Mulberry32: seeded numbers in [0, 1). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Link {
  bytesPerSecond: number;
  rttMs: number;
}

interface Trace {
  /** The link when a request is sent at `now`. */
  link: (now: number) => Link;
  /** Mean of the exponential jitter; answers keep their order. */
  jitterMs?: number;
  bytes?: number;
  everyMs?: number;
  count: number;
}

const CLOUD_MS = 8;

/** Sends over a simulated queue; for each request what was estimated before it, and what the estimate was wrong by, ms. */
function simulate({ link, jitterMs = 0, bytes = 1100, everyMs = 200, count }: Trace, seed = 1) {
  const random = randomFrom(seed);
  let free = 0;
  let last = 0;
  const requests = Array.from({ length: count }, (_, id) => {
    const at = id * everyMs;
    const { bytesPerSecond, rttMs } = link(at);
    const size = Math.round(bytes * (0.7 + 0.6 * random()));
    free = Math.max(free, at) + (1000 * size) / bytesPerSecond;
    last = Math.max(last, free + rttMs - jitterMs * Math.log(1 - random()));
    return { id, at, size, answer: last + CLOUD_MS };
  });
  const estimate = new LinkEstimate();
  estimate.opened(0);
  const events = requests.flatMap((request) => [
    { now: request.at, request, sent: true },
    { now: request.answer, request, sent: false },
  ]);
  const steps: { stats: ReturnType<LinkEstimate['stats']>; wrongMs: number; answered: number }[] = [];
  let answered = 0;
  for (const { now, request, sent } of events.toSorted((a, b) => a.now - b.now)) {
    if (!sent) {
      estimate.answered(now, request.id, CLOUD_MS);
      answered++;
      continue;
    }
    const stats = estimate.stats(now);
    const expected =
      (1000 * (stats.bytesInFlight + request.size)) / stats.bytesPerSecond + stats.rttMs + stats.cloudMs;
    steps.push({ stats, wrongMs: request.answer - now - expected, answered });
    estimate.sent(now, request.id, request.size);
  }
  return steps;
}

const quantile = (values: number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(q * (values.length - 1))]!;

const steady = [
  { name: '64 kbit/s, 20 ms', bytesPerSecond: 8000, rttMs: 20, jitterMs: 2, bytes: 1100 },
  { name: '64 kbit/s, 300 ms', bytesPerSecond: 8000, rttMs: 300, jitterMs: 10, bytes: 1100 },
  { name: '64 kbit/s, overloaded', bytesPerSecond: 8000, rttMs: 80, jitterMs: 5, bytes: 1900 },
  { name: '512 kbit/s, 100 ms', bytesPerSecond: 64_000, rttMs: 100, jitterMs: 2, bytes: 7000 },
  { name: '5 Mbit/s, 20 ms', bytesPerSecond: 625_000, rttMs: 20, jitterMs: 1, bytes: 7000 },
];

describe.each(steady)('on a link of $name', ({ bytesPerSecond, rttMs, jitterMs, bytes }) => {
  const settled = simulate({ link: () => ({ bytesPerSecond, rttMs }), jitterMs, bytes, count: 150 }).slice(
    30,
  );

  test('answers come when they are expected, within 4 times the jitter', () => {
    const wrong = settled.map(({ wrongMs }) => Math.abs(wrongMs));
    expect(quantile(wrong, 0.5)).toBeLessThanOrEqual(1.5 * jitterMs);
    expect(quantile(wrong, 0.95)).toBeLessThanOrEqual(4 * jitterMs);
  });

  test('the serialisation of an image and the round trip are told apart', () => {
    const imageMs = (1000 * bytes) / bytesPerSecond;
    const told = quantile(
      settled.map(({ stats }) => (1000 * bytes) / stats.bytesPerSecond),
      0.5,
    );
    expect(Math.abs(told - imageMs)).toBeLessThanOrEqual(0.15 * imageMs + 2 * jitterMs);
    const trips = settled.map(({ stats }) => stats.rttMs);
    expect(Math.abs(quantile(trips, 0.5) - rttMs)).toBeLessThanOrEqual(0.15 * imageMs + 2 * jitterMs);
  });

  test("the error that it reports is the jitter's deviation, within a factor of 2.5", () => {
    const reported = quantile(
      settled.map(({ stats }) => stats.errorMs),
      0.5,
    );
    expect(reported).toBeGreaterThan(0.4 * jitterMs);
    expect(reported).toBeLessThan(2.5 * jitterMs);
  });
});

describe('a link that changes after 10 s is followed within 4 answers', () => {
  const slow = { bytesPerSecond: 8000, rttMs: 40 };
  const fast = { bytesPerSecond: 64_000, rttMs: 40 };
  const far = { bytesPerSecond: 64_000, rttMs: 300 };
  test.each([
    { name: 'down', before: fast, after: slow },
    { name: 'up', before: slow, after: fast },
    { name: 'farther', before: fast, after: far },
    { name: 'nearer', before: far, after: fast },
  ])('$name', ({ before, after }) => {
    const steps = simulate({ link: (now) => (now < 10_000 ? before : after), jitterMs: 2, count: 100 });
    const answersThen = steps[50]!.answered;
    const late = steps.filter(({ answered }, i) => i > 50 && answered >= answersThen + 5);
    // 5: four of the new link, and one that may have been under way at the change
    expect(Math.max(...late.slice(0, 20).map(({ wrongMs }) => Math.abs(wrongMs)))).toBeLessThan(40);
  });
});

/** 40 answers from 64 kB/s with 50 ms. */
function settledEstimate(): LinkEstimate {
  const estimate = new LinkEstimate();
  const random = randomFrom(3);
  estimate.opened(0);
  for (let id = 0; id < 40; id++) {
    const bytes = 2000 + 2000 * random();
    estimate.sent(200 * id, id, bytes);
    estimate.answered(200 * id + 50 + CLOUD_MS + bytes / 64, id, CLOUD_MS);
  }
  return estimate;
}

test('nothing is known before the first answer', () => {
  const estimate = new LinkEstimate();
  const nothing = { rttMs: 0, bytesPerSecond: Infinity, errorMs: 0, cloudMs: 0 };
  expect(estimate.stats(0)).toEqual({ ...nothing, up: false, bytesInFlight: 0, unansweredMs: 0 });
  estimate.opened(10);
  estimate.sent(20, 1, 700);
  estimate.sent(30, 2, 800);
  expect(estimate.stats(120)).toEqual({ ...nothing, up: true, bytesInFlight: 1500, unansweredMs: 100 });
});

test('what has left the link is not ahead of the next request', () => {
  const estimate = settledEstimate();
  estimate.sent(8000, 100, 3200); // 50 ms at 64 kB/s, answered after 108
  expect(estimate.stats(8000).bytesInFlight).toBeCloseTo(3200, 0);
  expect(estimate.stats(8025).bytesInFlight / 3200).toBeCloseTo(0.5, 1);
  expect(estimate.stats(8055).bytesInFlight).toBe(0);
  expect(estimate.stats(8055).unansweredMs).toBe(55);
});

test('a link that carries nothing becomes slower with every moment, and is itself again with the answer', () => {
  const estimate = settledEstimate();
  const before = estimate.stats(8000);
  estimate.sent(8000, 100, 3200);
  const rates = [8100, 8300, 9000, 18_000].map((now) => estimate.stats(now).bytesPerSecond);
  expect(rates[0]).toBeCloseTo(before.bytesPerSecond, 0);
  expect(rates[1]).toBeLessThan(20_000);
  expect(rates[2]).toBeLessThan(4000);
  expect(rates[3]).toBeLessThan(400);
  estimate.answered(18_000, 100, CLOUD_MS);
  const after = estimate.stats(18_000);
  expect(after.bytesPerSecond / before.bytesPerSecond).toBeCloseTo(1, 1);
  expect(after.rttMs).toBeCloseTo(before.rttMs, 0);
  expect(after.errorMs).toBeLessThan(10);
});

test('a closed link forgets what was under way, and keeps what it knows', () => {
  const estimate = settledEstimate();
  const { bytesPerSecond, rttMs } = estimate.stats(8000);
  estimate.sent(8000, 100, 3200);
  estimate.closed(8500);
  const closed = { up: false, bytesInFlight: 0, unansweredMs: 0, bytesPerSecond, rttMs };
  expect(estimate.stats(9000)).toMatchObject(closed);
  estimate.opened(9000);
  estimate.answered(9500, 100, CLOUD_MS); // of the stream before
  expect(estimate.stats(9500)).toMatchObject({ ...closed, up: true });
});

test('an answer that nobody waits for is missed until a later one shows that its bytes have passed', () => {
  const estimate = settledEstimate();
  const { bytesPerSecond } = estimate.stats(8000);
  estimate.sent(8000, 100, 3200);
  estimate.forgotten(8400, 100);
  expect(estimate.stats(8500).unansweredMs).toBe(500);
  expect(estimate.stats(8500).bytesPerSecond).toBeLessThan(bytesPerSecond / 4);
  estimate.sent(8600, 101, 3200);
  estimate.answered(8600 + 50 + CLOUD_MS + 3200 / 64, 101, CLOUD_MS);
  expect(estimate.stats(12_000)).toMatchObject({ bytesInFlight: 0, unansweredMs: 0 });
  expect(estimate.stats(12_000).bytesPerSecond / bytesPerSecond).toBeCloseTo(1, 1);
});

test('a clock that goes back stands still', () => {
  const estimate = settledEstimate();
  estimate.sent(8000, 100, 3200);
  expect(estimate.stats(8060).unansweredMs).toBe(60);
  expect(estimate.stats(20).unansweredMs).toBe(60);
  estimate.answered(30, 100, CLOUD_MS);
  expect(estimate.stats(40).unansweredMs).toBe(0);
});

test('whatever happens in whatever order, no figure is negative or not a number', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = randomFrom(seed);
    const estimate = new LinkEstimate();
    let now = 0;
    let next = 0;
    for (let step = 0; step < 400; step++) {
      now += 300 * random() ** 3 - (random() < 0.02 ? 500 : 0);
      const id = Math.floor(next - 6 * random());
      const what = random();
      if (what < 0.45) estimate.sent(now, next++, Math.floor(8000 * random()));
      else if (what < 0.9) estimate.answered(now, id, [5, 0, -1, 1e9, Number.NaN, Infinity][step % 6]!);
      else if (what < 0.94) estimate.forgotten(now, id);
      else if (what < 0.97) estimate.closed(now);
      else estimate.opened(now);
      const { up: _, ...figures } = estimate.stats(now);
      for (const [name, figure] of Object.entries(figures)) expect(figure, name).toBeGreaterThanOrEqual(0);
      expect(figures.bytesPerSecond).toBeGreaterThan(0);
      const { bytesPerSecond: __, ...finite } = figures;
      for (const figure of Object.values(finite)) expect(figure).toBeLessThan(Infinity);
    }
  }
});
