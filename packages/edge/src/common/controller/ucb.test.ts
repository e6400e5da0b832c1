import { readFileSync } from 'node:fs';
import { parseManifest } from '@raccoon/bundle';
import { describe, expect, test } from 'vitest';
import { candidatesOf } from './candidates.ts';
import type { Action, Policy, Sighting, Situation } from './policy.ts';
import { rewardOf, ucbPolicy, type BanditOptions } from './ucb.ts';

const folder = new URL('../../../../../bundles/imagenet1k-mobilenet/', import.meta.url);
const manifest = parseManifest(readFileSync(new URL('manifest.json', folder), 'utf8'), 'bundle');
/** One arm for each depth: n = 0, 2, 4, 8. */
const arms = candidatesOf(manifest, { rate: 2, precision: 'float32' });
const options: BanditOptions = { alpha: 0.6, beta: 1, mu: 1, costMs: 1000 };

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const situation: Situation = {
  now: 0,
  elapsedMs: 0,
  link: { up: true, rttMs: 50, bytesPerSecond: 1e6, bytesInFlight: 0, unansweredMs: 0, errorMs: 5 },
  queue: { cloudMs: 10 },
};

/** What an arm's images are like. */
interface Stream {
  /** Confidence of the exit and of the cloud, ms of encoding and to the cloud's answer. */
  draw(n: number): { exit: number; cloud: number; encodeMs: number; answerMs: number };
}

/** One image through a policy. @returns n of the arm, and what was done */
function pull(policy: Policy, stream: Stream): { n: number; action: Action; reward: number } {
  const encoder = policy.chooseEncoder(situation);
  const { exit, cloud, encodeMs, answerMs } = stream.draw(encoder.n);
  const sighting: Sighting = {
    encoder,
    encodeMs,
    exit: { confidence: exit, margin: exit / 2 },
    bytesAt: () => 1800,
  };
  const action = policy.chooseAction(situation, sighting);
  const sent = action.kind === 'send';
  const outcome = {
    encodeMs,
    bytes: sent ? 1800 : 0,
    exitConfidence: exit,
    ...(sent && { answerMs, cloudConfidence: cloud }),
  };
  policy.observe({ now: 0, action, encoder, inTime: true, ...outcome });
  return { n: encoder.n, action, reward: rewardOf({ ...outcome, sent }, options) };
}

describe('reward, by hand', () => {
  const costs = { mu: 0.5, costMs: 1000 };
  test('the exit answers: C_exit - mu gamma', () => {
    expect(rewardOf({ sent: false, exitConfidence: 0.9, encodeMs: 200, bytes: 0 }, costs)).toBeCloseTo(
      0.9 - 0.5 * 0.2,
      12,
    );
  });
  test('the cloud answers: C_cloud - mu (gamma + o)', () => {
    const outcome = {
      sent: true,
      exitConfidence: 0.3,
      cloudConfidence: 0.8,
      encodeMs: 200,
      answerMs: 400,
      bytes: 1000,
    };
    expect(rewardOf(outcome, costs)).toBeCloseTo(0.8 - 0.5 * (0.2 + 0.4), 12);
  });
  test('under a limit of bytes, o counts the time that they take of it', () => {
    const outcome = { sent: true, cloudConfidence: 0.8, encodeMs: 200, answerMs: 400, bytes: 1000 };
    expect(rewardOf(outcome, costs, 10_000)).toBeCloseTo(0.8 - 0.5 * (0.2 + 0.4 + 0.1), 12);
  });
  test('nobody answered: the exit stands in, and the time was lost', () => {
    expect(rewardOf({ sent: true, exitConfidence: 0.3, encodeMs: 200, bytes: 1000 }, costs)).toBeCloseTo(
      0.3 - 0.5 * (0.2 + 1),
      12,
    );
  });
});

test('every arm once at first, in their order', () => {
  const policy = ucbPolicy('ucb', manifest, arms, options, {});
  const steady: Stream = { draw: () => ({ exit: 0.5, cloud: 0.9, encodeMs: 10, answerMs: 100 }) };
  expect([1, 2, 3, 4].map(() => pull(policy, steady).n)).toEqual([0, 2, 4, 8]);
});

test('every arm once also if answers are late', () => {
  const policy = ucbPolicy('ucb', manifest, arms, options, {});
  const chosen = [1, 2, 3, 4].map(() => {
    const encoder = policy.chooseEncoder(situation);
    policy.chooseAction(situation, { encoder, encodeMs: 10, bytesAt: () => 1800 });
    return encoder.n;
  });
  expect(chosen).toEqual([0, 2, 4, 8]);
});

const indexOf = (mean: number, pulls: number, t: number): number => mean + Math.sqrt(Math.log(t) / pulls);

test('then the highest mean + beta sqrt(ln t / N)', () => {
  const policy = ucbPolicy('ucb', manifest, arms.slice(0, 2), options, {});
  const rewards: Record<number, number> = { 0: 0.8, 2: 0.5 };
  const stream: Stream = { draw: (n) => ({ exit: 0, cloud: rewards[n]!, encodeMs: 0, answerMs: 0 }) };
  const counts: Record<number, number> = { 0: 0, 2: 0 };
  for (let t = 0; t < 60; t++) {
    const expected = t < 2 ? [0, 2][t] : indexOf(0.8, counts[0]!, t) >= indexOf(0.5, counts[2]!, t) ? 0 : 2;
    const { n } = pull(policy, stream);
    expect(n).toBe(expected);
    counts[n]!++;
  }
  expect(counts[2]).toBeGreaterThan(3);
});

const exits = (exit: number): string =>
  pull(ucbPolicy('ucb', manifest, arms, options, {}), {
    draw: () => ({ exit, cloud: 0.9, encodeMs: 10, answerMs: 100 }),
  }).action.kind;

test('a confidence of alpha exits, the next below does not', () => {
  expect(exits(0.6)).toBe('local');
  expect(exits(0.5999)).toBe('send');
});

/** Arms whose exits and costs differ as depths do, with noise: n = 4 is the best. */
function noisy(seed: number, best = 4): Stream {
  const random = seeded(seed);
  return {
    draw(n) {
      const lift = n === best ? 0.15 : 0;
      return {
        exit: Math.min(1, 0.2 + lift + 0.6 * random()),
        cloud: 0.7 + lift + 0.1 * random(),
        encodeMs: 10 + 10 * n,
        answerMs: (n === best ? 100 : 500) + 100 * random(),
      };
    },
  };
}

/** Mean reward of an arm, if it is pulled all the time. */
function meanReward(n: number, stream: Stream): number {
  const only = ucbPolicy(
    'ucb',
    manifest,
    arms.filter((arm) => arm.n === n),
    options,
    {},
  );
  let sum = 0;
  for (let t = 0; t < 4000; t++) sum += pull(only, stream).reward;
  return sum / 4000;
}

test.each([1, 2])('regret grows slower than time: R(2T) / R(T) < 1.6 over 20 seeds (beta %i)', (beta) => {
  const means = Object.fromEntries(arms.map(({ n }) => [n, meanReward(n, noisy(99))]));
  const best = Math.max(...Object.values(means));
  expect(means[4]).toBe(best);
  const half = 1500;
  let early = 0;
  let all = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const policy = ucbPolicy('ucb', manifest, arms, { ...options, beta }, {});
    const stream = noisy(seed);
    for (let t = 0; t < 2 * half; t++) {
      const regret = best - means[pull(policy, stream).n]!;
      all += regret;
      if (t < half) early += regret;
    }
  }
  expect(all / early).toBeLessThan(1.6);
});

test('the dearer the way to the cloud, the less is sent over it', () => {
  // a deeper exit is sure more often and takes longer
  const sure: Record<number, number> = { 0: 0.2, 2: 0.4, 4: 0.6, 8: 0.8 };
  let last = { n: -1, sent: Infinity };
  for (const answerMs of [50, 300, 800, 1500]) {
    const random = seeded(5);
    const policy = ucbPolicy('ucb', manifest, arms, { ...options, beta: 0.2 }, {});
    const counts = new Map<number, number>();
    let sent = 0;
    for (let t = 0; t < 3000; t++) {
      const { n, action } = pull(policy, {
        draw: (depth) => ({
          exit: random() < sure[depth]! ? 0.8 : 0.3,
          cloud: 0.9,
          encodeMs: 20 * depth,
          answerMs,
        }),
      });
      counts.set(n, (counts.get(n) ?? 0) + 1);
      if (action.kind === 'send') sent++;
    }
    const [favourite] = [...counts].toSorted((a, b) => b[1] - a[1])[0]!;
    expect(favourite).toBeGreaterThanOrEqual(last.n);
    expect(sent).toBeLessThanOrEqual(last.sent);
    last = { n: favourite, sent };
  }
});

test('what was saved goes on as if nothing had happened', () => {
  for (const window of [undefined, 50]) {
    const make = (): Policy => ucbPolicy('ucb', manifest, arms, { ...options, window }, {});
    const [whole, first, second] = [make(), make(), make()];
    const [one, other] = [noisy(3), noisy(3)];
    for (let t = 0; t < 200; t++) expect(pull(first, other).n).toBe(pull(whole, one).n);
    second.restore(JSON.parse(JSON.stringify(first.save())));
    for (let t = 0; t < 200; t++) expect(pull(second, other).n).toBe(pull(whole, one).n);
  }
});

test('a state of other arms is refused', () => {
  const state = ucbPolicy('ucb', manifest, arms, options, {}).save();
  const fewer = ucbPolicy('ucb', manifest, arms.slice(1), options, {});
  expect(() => fewer.restore(state)).toThrow(expect.objectContaining({ code: 'controller-state' }));
});

test('after a shift the sliding window finds the new best arm within its pulls; plain UCB takes longer', () => {
  const window = 250;
  const shift = 2000;
  /** Pulls after the shift until 8 of 10 are of the new best arm. */
  function recovery(policy: Policy): number {
    const random = seeded(11);
    const last: boolean[] = [];
    for (let t = 1 - shift; t <= 4 * shift; t++) {
      const mean: Record<number, number> = { 0: 0.55, 2: 0.45, 4: t > 0 ? 0.3 : 0.75, 8: 0.4 };
      const draw: Stream['draw'] = (n) => ({
        exit: 0,
        cloud: mean[n]! + 0.2 * (random() - 0.5),
        encodeMs: 0,
        answerMs: 0,
      });
      const { n } = pull(policy, { draw });
      if (t > 0) last.push(n === 0);
      if (last.length > 50) last.shift();
      if (t >= 50 && last.filter(Boolean).length >= 40) return t;
    }
    return Infinity;
  }
  const settings = { ...options, beta: 0.2 };
  const sliding = recovery(ucbPolicy('sliding-ucb', manifest, arms, { ...settings, window }, {}));
  const plain = recovery(ucbPolicy('ucb', manifest, arms, settings, {}));
  expect(sliding).toBeLessThanOrEqual(window);
  expect(plain).toBeGreaterThan(window);
});
