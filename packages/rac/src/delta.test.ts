import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { chooseCurve, readCurves, type Curve } from './curve.ts';
import { delta, deltaIntervals, type Delta } from './delta.ts';
import { mulberry32 } from './random.ts';

interface Golden {
  cases: { anchor: object; test: object; delta: Delta }[];
}

const root = join(import.meta.dirname, '../../..');
const golden = JSON.parse(readFileSync(join(root, 'test/vectors/delta.json'), 'utf8')) as Golden;
const curve = (bpp: number[], top1: number[], name = 'c'): Curve => readCurves({ bpp, top1 }, name)[0]!;

test('as SciPy computes it, on random curves', () => {
  expect(golden.cases.length).toBeGreaterThan(30);
  expect(golden.cases.filter(({ delta: { bdRateDropped } }) => bdRateDropped).length).toBeGreaterThan(5);
  for (const { anchor, test: tested, delta: expected } of golden.cases) {
    const found = delta(readCurves(anchor, 'a')[0]!, readCurves(tested, 't')[0]!);
    for (const [key, value] of Object.entries(expected)) {
      const got = found[key as keyof Delta];
      if (typeof value === 'number') expect(Math.abs(Number(got) - value), key).toBeLessThan(1e-6);
      else if (Array.isArray(value)) expect(got).toEqual(value);
      else expect(got, key).toBe(value);
    }
  }
});

// the published curves (ImageNet-1k val) lie beside the repository, not in it
const published = join(
  process.env['RACCOON_DATA'] ?? join(root, '../shared'),
  'reference/rac-imagenet-curves.json',
);

test.skipIf(!existsSync(published))('joint N=4 against Entropic Student, as published', () => {
  const curves = readCurves(JSON.parse(readFileSync(published, 'utf8')), 'f');
  const found = delta(chooseCurve(curves, 'f', 'entropic_student'), chooseCurve(curves, 'f', 'ours_n4'));
  expect(Math.abs(found.meanPoly4! - 0.911)).toBeLessThan(0.002);
  expect(Math.abs(found.paper! - 0.865)).toBeLessThan(0.002);
  expect(Math.abs(found.meanLinear - 1.38)).toBeLessThan(0.002);
});

test('a curve that is everywhere 2 points better is 2 points better, by every fit', () => {
  const bpp = [0.1, 0.2, 0.3, 0.5, 0.8, 1.2];
  const top1 = [50, 58, 61, 64, 66, 67];
  const found = delta(
    curve(bpp, top1),
    curve(
      bpp,
      top1.map((value) => value + 2),
    ),
  );
  for (const key of ['meanPoly4', 'meanLinear', 'meanPchip', 'meanLogBpp'] as const) {
    expect(found[key]).toBeCloseTo(2, 9);
  }
  expect(found.paper).toBeCloseTo(2 / 1.1, 9);
  expect(found.bdRatePercent).toBeLessThan(0);
  expect(found.overlap).toEqual([0.1, 1.2]);
});

test('half the bytes for the same accuracy', () => {
  const bpp = [0.1, 0.2, 0.3, 0.5];
  const top1 = [50, 58, 61, 64];
  const found = delta(
    curve(bpp, top1),
    curve(
      bpp.map((rate) => rate / 2),
      top1,
    ),
  );
  expect(found.bdRatePercent).toBeCloseTo(-50, 9);
  expect(found.bdRateDropped).toBe(false);
  expect(found.meanPoly4).toBeNull(); // 4 points do not make a polynomial of degree 4
  expect(found.paper).toBeNull();
});

test('no accuracy in common: no BD-rate', () => {
  const found = delta(curve([0.1, 0.2], [10, 20]), curve([0.1, 0.2], [50, 60]));
  expect(found.bdRatePercent).toBeNull();
  expect(found.meanLinear).toBeCloseTo(40, 9);
});

test('no rates in common: refused', () => {
  expect(() => delta(curve([0.1, 0.2], [10, 20], 'a'), curve([0.2, 0.3], [10, 20], 'b'))).toThrow(
    'no rates in common: a 0.1 to 0.2 bpp, b 0.2 to 0.3 bpp',
  );
});

describe('layouts', () => {
  test("shares, as in the release's files, become percent", () => {
    const [found] = readCurves({ top1: [0.75, 0.6728], bpp: [1.2, 0.1], top5: [1, 1], checkpoint: [] }, 'x');
    expect(found!.points).toEqual([
      { bpp: 0.1, top1: 67.28 },
      { bpp: 1.2, top1: 75 },
    ]);
  });

  test('rows of raccoon eval: a curve for each n and precision', () => {
    const row = { n: 8, q: 0, precision: 'float32', top1: 50, payloadBpp: 0.1, images: 7 };
    const points = [row, { ...row, top1: 60, payloadBpp: 0.3 }];
    const curves = readCurves(
      { points: [...points, ...points.map((p) => ({ ...p, precision: 'int8' }))] },
      'f',
    );
    expect(curves.map(({ name }) => name)).toEqual(['f#n=8', 'f#n=8 int8']);
    expect(chooseCurve(curves, 'f', 'n=8').points).toHaveLength(2);
    expect(() => chooseCurve(curves, 'f')).toThrow('f has 2 curves: choose one, f#<name>, of n=8, n=8 int8');
    expect(() => chooseCurve(curves, 'f', 'n=3')).toThrow('f has no curve n=3; it has n=8, n=8 int8');
  });

  test.each<[string, unknown, RegExp]>([
    ['nothing', null, /f is no curve/],
    ['lengths', { bpp: [1, 2], top1: [50] }, /as many of one as of the other/],
    ['a rate of 0', { bpp: [0, 1], top1: [50, 60] }, /50 % at 0 bpp is no point/],
    ['more than all', { bpp: [1, 2], top1: [50, 160] }, /160 % at 2 bpp/],
    ['not a number', { bpp: [1, 'x'], top1: [50, 60] }, /no point/],
    ['the same rate twice', { bpp: [1, 1], top1: [50, 60] }, /two points at 1 bpp/],
    ['one point', { bpp: [1], top1: [50] }, /two at least/],
    ['an empty curve', { curves: { a: { bpp: [], top1: [] } } }, /f#a has 0 point/],
  ])('%s', (_, json, message) => {
    expect(() => readCurves(json, 'f')).toThrow(message);
  });
});

test('intervals hold the value; the same photos for both narrow them', () => {
  const random = mulberry32(3);
  const difficulty = Array.from({ length: 400 }, random);
  const made = (name: string, shift: number): Curve => ({
    name,
    points: [0.1, 0.2, 0.4, 0.7, 1.1].map((bpp, i) => {
      const photos = difficulty.map((hard, k) => ({
        photo: `p${k}`,
        right: hard < 0.5 + 0.04 * i + shift,
        bytes: 6272 * bpp * (0.8 + 0.4 * difficulty[(k * 7) % 400]!),
      }));
      return { bpp, top1: (100 * photos.filter(({ right }) => right).length) / 400, photos };
    }),
  });
  const [anchor, tested] = [made('a', 0), made('t', 0.05)];
  const { meanPchip } = delta(anchor, tested);
  const [low, high] = deltaIntervals(anchor, tested)!.meanPchip!;
  expect(low).toBeLessThan(meanPchip);
  expect(high).toBeGreaterThan(meanPchip);
  expect(high - low).toBeLessThan(6); // two independent samples of 400 would give 14
  expect(deltaIntervals(anchor, curve([0.1, 0.9], [50, 60]))).toBeUndefined();
  const other = made('o', 0);
  other.points[2]!.photos = other.points[2]!.photos!.toReversed();
  expect(() => deltaIntervals(anchor, other)).toThrow('a and o are not of the same photos');
});
