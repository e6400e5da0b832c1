import { expect, test } from 'vitest';
import { RateLimit } from './rate-limit.ts';

test('a second of the rate at once, then the rate; each caller for itself', () => {
  const limit = new RateLimit(2);
  const [a, b] = [{ name: 'a' }, { name: 'b' }];
  expect([limit.take(a, 0), limit.take(a, 0)]).toEqual([0, 0]);
  expect(limit.take(a, 0)).toBe(500);
  expect(limit.take(a, 400)).toBeCloseTo(100, 6);
  expect(limit.take(b, 400)).toBe(0);
  expect(limit.take(a, 500)).toBe(0);
  expect(limit.take(a, 500)).toBe(500);
  expect([limit.take(a, 1e6), limit.take(a, 1e6), limit.take(a, 1e6)]).toEqual([0, 0, 500]);
});

test("a caller's own rate goes before the service's", () => {
  const limit = new RateLimit(Infinity);
  expect(limit.take({ name: 'a' }, 0)).toBe(0);
  const slow = { name: 'slow', imagesPerSecond: 0.1 };
  expect([limit.take(slow, 0), limit.take(slow, 0)]).toEqual([0, 10_000]);
  expect(limit.take({ name: 'none', imagesPerSecond: 0 }, 0)).toBe(0); // one, as a bucket cannot hold less
  expect(limit.take({ name: 'none', imagesPerSecond: 0 }, 1e9)).toBe(Infinity);
});

test('many callers are forgotten once they could send all of it again, and not before', () => {
  const limit = new RateLimit(1);
  const busy = { name: 'busy' };
  expect(limit.take(busy, 10_000)).toBe(0);
  for (let i = 0; i < 5000; i++) limit.take({ name: `${i}` }, 10_000 + i / 10);
  expect(limit.take(busy, 10_500)).toBe(500);
  for (let i = 0; i < 20_000; i++) expect(limit.take({ name: `again ${i}` }, 20_000 + i)).toBe(0);
});
