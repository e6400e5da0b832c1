import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RansTables, fromCdf, fromCounts, fromProbabilities } from './index.ts';
import type { Distribution } from './index.ts';

const invalid: unknown = expect.objectContaining({ name: 'RansError', code: 'invalid-table' });

const tooMany = new Uint8Array(65536).fill(1);

describe('fromFrequencies', () => {
  test.each<[string, Distribution]>([
    ['no entries', { offset: 0, frequencies: [] }],
    ['the escape alone', { offset: 0, frequencies: [65536] }],
    ['a zero frequency', { offset: 0, frequencies: [65535, 0, 1] }],
    ['a negative frequency', { offset: 0, frequencies: [65537, -1] }],
    ['a fraction', { offset: 0, frequencies: [65534.5, 1.5] }],
    ['a sum below 65536', { offset: 0, frequencies: [1, 65534] }],
    ['a sum above 65536', { offset: 0, frequencies: [65535, 2] }],
    ['not a number', { offset: 0, frequencies: [65535, Number.NaN] }],
    ['a hole', { offset: 0, frequencies: { length: 3, 0: 1, 2: 65535 } }],
    ['a fractional offset', { offset: 0.5, frequencies: [1, 65535] }],
    ['an offset that is no number', { offset: Number.NaN, frequencies: [1, 65535] }],
    ['symbols below int16', { offset: -32769, frequencies: [1, 65535] }],
    ['symbols above int16', { offset: 32767, frequencies: [1, 1, 65534] }],
    [
      'more entries than there are frequencies',
      { offset: -32768, frequencies: new Uint8Array(65537).fill(1) },
    ],
  ])('invalid-table: %s', (_, distribution) => {
    const good = { offset: 0, frequencies: [1, 65535] };
    expect(() => RansTables.fromFrequencies([good, distribution])).toThrow(invalid);
    expect(() => RansTables.fromFrequencies([good, distribution])).toThrow(/^table 1 /);
  });

  test('invalid-table: more tables than an index can name', () => {
    const table = { offset: 0, frequencies: [1, 65535] };
    expect(() => RansTables.fromFrequencies(Array.from({ length: 65537 }, () => table))).toThrow(invalid);
  });

  test('gives back what it was made of', () => {
    const frequencies = Uint16Array.of(0x2000, 0xa000, 0x3000, 0x1000);
    const pool = RansTables.fromFrequencies([{ offset: 3, frequencies }, { offset: -1, frequencies: [65535, 1] }]); // prettier-ignore
    expect(pool.count).toBe(2);
    expect(pool.distribution(0)).toEqual({ offset: 3, frequencies });
    expect(pool.distribution(1)).toEqual({ offset: -1, frequencies: Uint16Array.of(65535, 1) });
  });

  test('bits count the entry and the digits', () => {
    const pool = RansTables.fromFrequencies([{ offset: -1, frequencies: [0x2000, 0xa000, 0x3000, 0x1000] }]);
    expect(pool.bits(0, -1)).toBe(3); // 2^13 of 2^16
    expect(pool.bits(0, 2)).toBe(4 + 4 + 4); // the escape, the count, one digit
    expect(pool.bits(0, -(2 ** 31))).toBe(4 + 4 + 32);
  });
});

describe('fromCounts', () => {
  test.each<[string, number[], number | undefined, number[]]>([
    ['what was never seen gets the least', [1, 0], undefined, [65534, 1, 1]],
    ['escapes count', [1], 1, [32768, 32768]],
    ['in proportion, the rest to the largest remainder', [1, 2], 0, [21845, 43690, 1]],
    ['of equal remainders the first', [1, 1], undefined, [32768, 32767, 1]],
    ['fractions are counts too', [0.25, 0.75], undefined, [16384, 49151, 1]],
  ])('%s', (_, counts, escapes, frequencies) => {
    expect(fromCounts(7, counts, escapes)).toEqual({ offset: 7, frequencies });
  });

  test.each<[string, ArrayLike<number>, number | undefined]>([
    ['nothing was seen', [0, 0], undefined],
    ['no symbols', [], undefined],
    ['no symbols but escapes', [], 1],
    ['a negative count', [2, -1], undefined],
    ['not a number', [1, Number.NaN], undefined],
    ['an infinite count', [1, Infinity], undefined],
    ['a sum beyond floats', [1e308, 1e308], undefined],
    ['negative escapes', [2], -1],
    ['more symbols than there are frequencies', tooMany, undefined],
  ])('invalid-table: %s', (_, counts, escapes) => {
    expect(() => fromCounts(0, counts, escapes)).toThrow(invalid);
  });

  test('any counts make a table', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(), fc.double({ min: 0, max: 1e12, noNaN: true })), { minLength: 1, maxLength: 300 }), // prettier-ignore
        fc.nat(),
        (counts, escapes) => {
          fc.pre(escapes > 0 || counts.some((count) => count > 0));
          const distribution = fromCounts(-100, counts, escapes);
          RansTables.fromFrequencies([distribution]);
          const total = counts.reduce((a, b) => a + b, escapes);
          for (const [k, count] of [...counts, escapes].entries()) {
            const share = (count / total) * (65536 - counts.length - 1);
            expect(Math.abs(distribution.frequencies[k]! - 1 - share)).toBeLessThan(1);
          }
        },
      ),
      { seed: 1, numRuns: 300 },
    );
  });
});

describe('fromProbabilities', () => {
  test.each<[string, number[], number[]]>([
    ['what is missing to 1 is the escape', [0.25, 0.5], [16384, 32768, 16384]],
    ['nothing is missing', [0.5, 0.5], [32768, 32767, 1]],
    ['a probability of 0', [0, 1], [1, 65534, 1]],
    ['a sum that floats take just above 1', [0.1, 0.2, 0.7000000001], [6554, 13107, 45874, 1]],
  ])('%s', (_, probabilities, frequencies) => {
    expect(fromProbabilities(-1, probabilities)).toEqual({ offset: -1, frequencies });
  });

  test.each<[string, ArrayLike<number>]>([
    ['a sum above 1', [0.75, 0.5]],
    ['a negative probability', [1.5, -0.5]],
    ['not a number', [0.5, Number.NaN]],
    ['an infinite one', [-Infinity, 0.5]],
    ['no symbols', []],
    ['more symbols than there are frequencies', new Float64Array(65536).fill(2 ** -16)],
  ])('invalid-table: %s', (_, probabilities) => {
    expect(() => fromProbabilities(0, probabilities)).toThrow(invalid);
  });
});

describe('fromCdf', () => {
  test('steps are frequencies', () => {
    expect(fromCdf(-1, [0, 0x2000, 0xc000, 0xf000, 0x10000])).toEqual({
      offset: -1,
      frequencies: [0x2000, 0xa000, 0x3000, 0x1000],
    });
  });

  test.each<[string, number, ArrayLike<number>]>([
    ['nothing', 0, []],
    ['the escape alone', 0, [0, 65536]],
    ['a start above 0', 0, [1, 2, 65536]],
    ['an end below 65536', 0, [0, 1, 65535]],
    ['an end above', 0, [0, 1, 65537]],
    ['equal values', 0, [0, 5, 5, 65536]],
    ['values that fall', 0, [0, 9, 5, 65536]],
    ['a fraction', 0, [0, 0.5, 65536]],
    ['not a number', 0, [0, Number.NaN, 65536]],
    ['symbols beyond int16', 32768, [0, 1, 65536]],
  ])('invalid-table: %s', (_, offset, cdf) => {
    expect(() => fromCdf(offset, cdf)).toThrow(invalid);
  });
});
