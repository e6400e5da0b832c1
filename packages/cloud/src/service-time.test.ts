import { expect, test } from 'vitest';
import { ServiceTime } from './service-time.ts';

test('nothing measured, nothing known', () => {
  const time = new ServiceTime(4);
  expect([time.batch(1), time.batch(4), time.all(0), time.all(9)]).toEqual([0, 0, 0, 0]);
});

test('each batch size has its own time; others are taken from the nearest', () => {
  const time = new ServiceTime(8);
  time.observe(2, 10);
  time.observe(4, 16);
  expect([1, 2, 3, 4].map((images) => time.batch(images))).toEqual([10, 10, 16, 16]);
  expect(time.batch(8)).toBe(32);
});

test('many images go in full batches', () => {
  const time = new ServiceTime(4);
  time.observe(1, 10);
  time.observe(4, 16);
  expect([0, 1, 4, 6, 400].map((images) => time.all(images))).toEqual([0, 10, 16, 24, 1600]);
});

test('it follows what changes', () => {
  const time = new ServiceTime(1);
  time.observe(1, 100);
  for (let i = 0; i < 50; i++) time.observe(1, 10);
  expect(time.batch(1)).toBeCloseTo(10, 1);
});
