import { expect, test } from 'vitest';
import { mean, quantile, topClasses } from './ranking.ts';

test('quantiles are the nearest rank, whatever the order', () => {
  const values = [30, 10, 50, 20, 40];
  expect([0, 0.2, 0.21, 0.5, 0.95, 1].map((p) => quantile(values, p))).toEqual([10, 10, 20, 30, 50, 50]);
  expect(quantile([7], 0.95)).toBe(7);
  expect(
    quantile(
      Array.from({ length: 100 }, (_, i) => i + 1),
      0.95,
    ),
  ).toBe(95);
  expect(quantile([], 0.5)).toBeNaN();
  expect(values).toEqual([30, 10, 50, 20, 40]);
});

test('the mean of nothing is not a number', () => {
  expect(mean([1, 2, 6])).toBe(3);
  expect(mean([])).toBeNaN();
});

test('classes by falling score, equal ones by index', () => {
  expect(topClasses(Float32Array.of(1, 3, 3, -Infinity, 2), 3)).toEqual([1, 2, 4]);
  expect(topClasses(Float32Array.of(1, 2), 5)).toEqual([1, 0]);
});
