import { expect, test } from 'vitest';
import { pairedDifference, partnerOf, type ComparedRow } from './compare.ts';
import type { PhotoOutcome } from './evaluate.ts';

const outcomes = (rights: boolean[]): PhotoOutcome[] =>
  rights.map((right, i) => ({ photo: `n01443537/${i}.jpg`, right, bytes: 100 }));
const row = (n: number, payloadBpp: number): ComparedRow => ({
  n,
  q: 0,
  precision: 'float32',
  top1: 50,
  payloadBpp,
  photos: [],
});

test('the interval is that of the paired differences', () => {
  // 1,000 photos: 60 won, 40 lost; mean +2 points, deviation of the mean sqrt((0.1 - 0.0004) / 1000) = 0.998 points
  const anchor = outcomes(Array.from({ length: 1000 }, (_, i) => i >= 60));
  const better = outcomes(Array.from({ length: 1000 }, (_, i) => i < 960));
  const { mean, low, high } = pairedDifference(anchor, better);
  expect(mean).toBeCloseTo(2, 9);
  expect(low).toBeCloseTo(2 - 1.96 * 0.998, 0);
  expect(high).toBeCloseTo(2 + 1.96 * 0.998, 0);
  expect(pairedDifference(anchor, better)).toEqual({ mean, low, high }); // seeded
  const back = pairedDifference(better, anchor);
  expect(back.mean).toBeCloseTo(-2, 9);
});

test('equal outcomes differ by nothing, with certainty', () => {
  const same = outcomes([true, false, true]);
  expect(pairedDifference(same, same)).toEqual({ mean: 0, low: 0, high: 0 });
});

test('other photos, or in another order, are refused', () => {
  const three = outcomes([true, false, true]);
  expect(() => pairedDifference(three, three.slice(1))).toThrow('3 photos against 2');
  expect(() => pairedDifference(three, three.toReversed())).toThrow('n01443537/0.jpg');
  expect(() => pairedDifference([], [])).toThrow('same photos');
});

test('a partner has as many blocks, the same precision where there is one, and the nearest rate', () => {
  const anchors = [row(0, 0.3), row(8, 0.1), row(8, 0.28), row(8, 1)];
  expect(partnerOf(row(8, 0.3), anchors)).toBe(anchors[2]);
  expect(partnerOf(row(8, 0.6), anchors)).toBe(anchors[3]);
  const int8 = { ...row(8, 0.9), precision: 'int8' } as const;
  expect(partnerOf(row(8, 0.9), [int8, ...anchors])).toBe(anchors[3]);
  expect(partnerOf(int8, [int8, ...anchors])).toBe(int8);
  expect(partnerOf(int8, anchors)).toBe(anchors[3]);
  expect(() => partnerOf(row(4, 0.3), anchors)).toThrow('n=4');
});
