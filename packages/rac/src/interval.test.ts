import { expect, test } from 'vitest';
import { shareInterval } from './interval.ts';
import { mulberry32 } from './random.ts';

test('the interval is what resampling comes to', () => {
  const [right, of] = [317, 500];
  const random = mulberry32(7);
  const shares = Float64Array.from({ length: 20_000 }, () => {
    let hits = 0;
    for (let i = 0; i < of; i++) hits += Number(random() * of < right);
    return (100 * hits) / of;
  }).toSorted();
  const [low, high] = shareInterval(right, of);
  expect(Math.abs(low - shares[500]!)).toBeLessThanOrEqual(100 / of); // a photo more or less
  expect(Math.abs(high - shares[19_499]!)).toBeLessThanOrEqual(100 / of);
});

test('it is that of the normal distribution for many photos, at any size', () => {
  const of = 50_000;
  const [low, high] = shareInterval(0.7 * of, of);
  const deviation = 100 * Math.sqrt((0.7 * 0.3) / of);
  expect(low).toBeCloseTo(70 - 1.96 * deviation, 1);
  expect(high).toBeCloseTo(70 + 1.96 * deviation, 1);
});

test('a bootstrap of outcomes that are all alike has no width', () => {
  expect(shareInterval(0, 20)).toEqual([0, 0]);
  expect(shareInterval(20, 20)).toEqual([100, 100]);
  expect(shareInterval(1, 1)).toEqual([100, 100]);
  expect(shareInterval(1, 2)).toEqual([0, 100]);
});
