import { readFileSync } from 'node:fs';
import { parseManifest } from '@raccoon/bundle';
import { expect, test } from 'vitest';
import { candidatesOf, encodersOf } from './candidates.ts';

const folder = new URL('../../../../../bundles/imagenet1k-mobilenet/', import.meta.url);
const manifest = parseManifest(readFileSync(new URL('manifest.json', folder), 'utf8'), 'bundle');

test('what is pinned narrows the points; each encoder is there once', () => {
  expect(candidatesOf(manifest, {})).toHaveLength(manifest.points.length);
  const deep = candidatesOf(manifest, { blocks: 8 });
  expect(encodersOf(deep)).toEqual([
    { n: 8, precision: 'float32' },
    { n: 8, precision: 'int8' },
  ]);
  const [one, ...others] = candidatesOf(manifest, { blocks: 8, rate: 2, precision: 'int8' });
  expect(others).toEqual([]);
  const { measured } = manifest.points[one!.point]!;
  expect(one).toMatchObject({ top1: measured!.top1, exitTop1: measured!.exitTop1 });
  expect(one!.bytes).toBeCloseTo((measured!.payloadBpp * 224 * 224) / 8, 9);
  expect(() => candidatesOf(manifest, { rate: 9 })).toThrow('it has n=0 q=0, n=0 q=1');
});

test('a bundle that nobody measured: higher rates and deeper encoders are taken for the better ones', () => {
  const points = manifest.points.map(({ measured: _measured, ...point }) => point);
  const candidates = candidatesOf({ ...manifest, points }, { precision: 'float32' });
  for (const one of candidates) {
    expect(one.exitTop1).toBe(0);
    for (const other of candidates) {
      const less = one.n <= other.n && one.q <= other.q && one !== other;
      if (less) expect(one.top1).toBeLessThan(other.top1);
    }
  }
});
