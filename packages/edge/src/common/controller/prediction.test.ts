import { expect, test } from 'vitest';
import { predictAnswerMs, probabilityInTime } from './prediction.ts';

test('what is under way goes first, then these bytes, then link and cloud', () => {
  const link = { bytesInFlight: 3000, bytesPerSecond: 8000, rttMs: 40 };
  expect(predictAnswerMs(link, { cloudMs: 12 }, 1000)).toBe(500 + 40 + 12);
});

test('a link that was never busy costs its round trip alone', () => {
  const link = { bytesInFlight: 0, bytesPerSecond: Infinity, rttMs: 40 };
  expect(predictAnswerMs(link, { cloudMs: 12 }, 1000)).toBe(52);
});

test('the probability of being in time is the normal distribution', () => {
  expect(probabilityInTime(300, 300, 50)).toBeCloseTo(0.5, 6);
  expect(probabilityInTime(300, 350, 50)).toBeCloseTo(0.841345, 6);
  expect(probabilityInTime(300, 202, 50)).toBeCloseTo(0.024998, 6); // -1.96 deviations
  expect(probabilityInTime(300, Infinity, 50)).toBe(1);
});

test('a link without any error yet is not trusted to the millisecond', () => {
  expect(probabilityInTime(100, 101, 0)).toBeLessThan(0.6); // 5 % of 100 ms
  expect(probabilityInTime(100, 200, 0)).toBeGreaterThan(0.9999);
});
