import { expect, test } from 'vitest';
import { Usage } from './usage.ts';

test('the share of the time that two workers have worked, of late', () => {
  const usage = new Usage();
  expect(usage.share(0, 2)).toBe(0);
  for (let now = 10; now <= 60_000; now += 10) usage.add(now, 10); // one of two, all the time
  expect(usage.share(60_000, 2)).toBeCloseTo(0.5, 2);
  expect(usage.share(60_000, 1)).toBe(1); // and not more than all of it
  expect(usage.share(65_000, 2)).toBeCloseTo(0.5 / Math.E, 2); // then none
  expect(usage.share(65_000, 0)).toBe(0);
});
