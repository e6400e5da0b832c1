import { expect, test } from 'vitest';
import { thresholdAt, thresholdsByLevel, type Bucket } from './value-iteration.ts';

/** Mean gain per image in the long run, if an image is sent at level k of the bucket when its gain is above thresholds[k]. */
function longRun(
  gains: readonly number[],
  { depth, income, cost }: Bucket,
  thresholds: readonly number[],
): number {
  const levels = thresholds.length;
  const step = depth / (levels - 1);
  const level = (tokens: number): number => Math.min(levels - 1, Math.round(tokens / step));
  let share = Array.from({ length: levels }, () => 1 / levels); // of the time at each level
  let sum = 0;
  for (let t = 0; t < 2 * STEPS; t++) {
    const next = share.map(() => 0);
    for (const [k, probability] of share.entries()) {
      for (const gain of gains) {
        const p = probability / gains.length;
        const sends = k * step >= cost && gain > thresholds[k]!;
        next[level(k * step - (sends ? cost : 0) + income)]! += p;
        if (sends && t >= STEPS) sum += p * gain; // the first half is for the levels to settle
      }
    }
    share = next;
  }
  return sum / STEPS;
}
const STEPS = 120;

/** Every way to have one of `thresholds` at each level. */
function everyPolicy(levels: number, thresholds: readonly number[]): number[][] {
  if (levels === 0) return [[]];
  return everyPolicy(levels - 1, thresholds).flatMap((rest) => thresholds.map((one) => [...rest, one]));
}

const gains = [0.05, 0.1, 0.3, 0.6, 0.9];

test.each([
  ['3 levels, an image takes two incomes', { depth: 2, income: 1, cost: 2 }, 3],
  ['3 levels, an image takes the whole bucket', { depth: 4, income: 2, cost: 4 }, 3],
  ['4 levels, two of which can send', { depth: 3, income: 1, cost: 2 }, 4],
])('as good as the best of all threshold policies: %s', (_, bucket, levels) => {
  const results = everyPolicy(levels, [0, ...gains]).map((policy) => longRun(gains, bucket, policy));
  const found = [...thresholdsByLevel(gains, bucket, levels)];
  expect(longRun(gains, bucket, found)).toBeCloseTo(Math.max(...results), 4);
});

test('the fuller the bucket, the less is asked for; an empty one sends nothing', () => {
  const thresholds = [...thresholdsByLevel(gains, { depth: 10, income: 0.5, cost: 2 }, 21)];
  expect(thresholds.slice(0, 4)).toEqual([Infinity, Infinity, Infinity, Infinity]);
  for (let k = 5; k < 21; k++) expect(thresholds[k]!).toBeLessThanOrEqual(thresholds[k - 1]! + 1e-9);
  expect(thresholds[20]!).toBeLessThan(thresholds[4]!);
});

test('with income for every image nothing is saved up', () => {
  expect(thresholdsByLevel(gains, { depth: 4, income: 1, cost: 1 }, 5)[4]).toBeCloseTo(0, 9);
});

test('between levels the threshold is that of the one below', () => {
  const thresholds = Float64Array.of(3, 2, 1);
  expect([0, 0.9, 1, 1.99, 2].map((tokens) => thresholdAt(thresholds, tokens, 2))).toEqual([3, 3, 2, 2, 1]);
});
