import { expect, test } from 'vitest';
import { accumulate, staysLocal } from './cascade.ts';
import { localAnswer, softmax } from './exit.ts';

test('probabilities, the first classes and the margin of logits', () => {
  // exp: 1, 2, 4, 1 of 8
  const logits = Float32Array.of(0, Math.log(2), Math.log(4), 0);
  const { probabilities, top, confidence, margin } = localAnswer(logits, 1, 3);
  for (const [k, p] of [0.125, 0.25, 0.5, 0.125].entries()) expect(probabilities[k]).toBeCloseTo(p, 6);
  expect(top).toEqual([2, 1, 0]); // of equal ones the lower index
  expect(confidence).toBeCloseTo(0.5, 6);
  expect(margin).toBeCloseTo(0.25, 6);
});

test('the margin does not depend on how many classes are asked for', () => {
  const logits = Float32Array.of(1, 3, 2);
  expect(localAnswer(logits, 1, 1)).toMatchObject({ top: [1], margin: localAnswer(logits, 1, 3).margin });
});

test('temperature 2: the square roots of the odds', () => {
  const [a, b] = softmax(Float32Array.of(Math.log(9), 0), 2);
  expect(a! / b!).toBeCloseTo(3, 5);
});

test('logits as large as float32 takes neither overflow nor give NaN', () => {
  expect(localAnswer(Float32Array.of(3e38, -3e38, 0), 0.05).confidence).toBe(1);
});

test('the cascade stays local strictly above D0', () => {
  expect(staysLocal(0.4, 0.4)).toBe(false);
  expect(staysLocal(0.400001, 0.4)).toBe(true);
  expect(staysLocal(1, 1)).toBe(false); // D0 = 1: always the cloud
  expect(staysLocal(0.001, 0)).toBe(true);
});

test("the cloud's logits are accumulated with the exit's", () => {
  const exit = Float32Array.of(1, -2);
  const cloud = Float32Array.of(10, 20);
  expect(accumulate(exit, cloud, 1.5)).toEqual(Float32Array.of(16, 28));
  expect(accumulate(exit, cloud, undefined)).toBe(cloud);
  expect(() => accumulate(exit, Float32Array.of(1), 1)).toThrow('2 logits of the exit, 1 of the cloud');
});
