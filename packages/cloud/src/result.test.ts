import { expect, test } from 'vitest';
import { softmax, toResult } from './result.ts';

test('softmax sums to one and survives huge logits', () => {
  const p = softmax(Float32Array.of(1e30, 1e30, -1e30));
  expect([...p]).toEqual([0.5, 0.5, 0]);
});

test('the result lists the most probable classes, equal ones by index', () => {
  const logits = Float32Array.of(0, Math.log(2), 0, -Infinity);
  const result = toResult(logits, 3, false);
  expect(result.top.map((c) => c.index)).toEqual([1, 0, 2]);
  expect(result.top[0]!.probability).toBeCloseTo(0.5, 6);
  expect(result.margin).toBeCloseTo(0.25, 6);
  expect(result.logits).toBeUndefined();
});

test('logits come along when asked for', () => {
  const logits = Float32Array.of(1, 2);
  expect(toResult(logits, 1, true).logits).toBe(logits);
});

test('a long list and a short one agree', () => {
  let state = 1;
  const logits = Float32Array.from({ length: 1000 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 28; // many are equal
  });
  const all = toResult(logits, 1000, false);
  expect(all.top).toHaveLength(1000);
  for (const topK of [1, 2, 5, 32, 33]) {
    expect(toResult(logits, topK, false)).toEqual({ top: all.top.slice(0, topK), margin: all.margin });
  }
  expect(toResult(logits, 0xffff_ffff, false)).toEqual(all);
});
