import { expect, test } from 'vitest';
import { ripeAt } from './batching.ts';

const limits = { maxBatch: 4, maxBatchDelayMs: 10 };
const waiting = [
  { arrivedAt: 100, deadline: Infinity },
  { arrivedAt: 103, deadline: 150 },
];

test('the first one waits for company as long as it is told to', () => {
  expect(ripeAt(waiting, 2, 5, limits)).toBe(110);
});

test('not at all by default, and not when the batch is full', () => {
  expect(ripeAt(waiting, 2, 5, { ...limits, maxBatchDelayMs: 0 })).toBe(-Infinity);
  expect(ripeAt(waiting, 4, 5, limits)).toBe(-Infinity);
});

test('not when a deadline comes near: what is left must do twice for the batch', () => {
  expect(ripeAt(waiting, 2, 22, limits)).toBe(106);
  expect(ripeAt(waiting, 2, 100, limits)).toBe(-50); // at once
});

test('not with a deadline as long as nobody knows how long a batch takes', () => {
  expect(ripeAt(waiting, 2, 0, limits)).toBe(-Infinity);
  expect(ripeAt(waiting.slice(0, 1), 1, 0, limits)).toBe(110);
});
