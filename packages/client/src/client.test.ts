import { openBundle } from '@raccoon/bundle/node';
import { expect, test } from 'vitest';
import { choosePoint } from './client.ts';

// What needs a cloud is in test/e2e/client.test.ts.

test("what is left out of an operating point is the default point's", async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const { points, defaultPoint } = bundle.manifest;
  const fallback = points[defaultPoint]!;
  expect(choosePoint(bundle)).toBe(defaultPoint);
  for (const [p, { n, q, precision }] of points.entries()) {
    expect(choosePoint(bundle, n, q, precision)).toBe(p);
    if (precision !== fallback.precision) continue;
    expect(choosePoint(bundle, n, q)).toBe(p);
    if (q === fallback.q) expect(choosePoint(bundle, n, undefined)).toBe(p);
    if (n === fallback.n) expect(choosePoint(bundle, undefined, q)).toBe(p);
  }
  expect(() => choosePoint(bundle, 99, undefined)).toThrow(
    expect.objectContaining({ code: 'unknown-point' }),
  );
});
