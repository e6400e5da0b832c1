import { describe, expect, test } from 'vitest';
import { RansError, decodeWithIndexes, encodeWithIndexes } from './index.ts';
import type { RansErrorCode } from './index.ts';

const MIN = -(2 ** 31);
const MAX = 2 ** 31 - 1;

// Table 0: the symbols -1, 0, 1. Table 1: none, all escape at no cost. Table 2: symbol 0 takes as little, table 3 as much
// as it may. Table 4: symbol 100. Table 5: the smallest int32.
const cdfs = [
  [0, 0x2000, 0xc000, 0xf000, 0x10000],
  [0, 0x10000],
  [0, 1, 0x10000],
  [0, 0xffff, 0x10000, 0, 0],
  [0, 0x8000, 0x10000],
  [0, 0x8000, 0x10000],
];
const cdfSizes = [5, 2, 3, 3, 3, 3];
const offsets = [-1, 0, 0, 0, 100, MIN];

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

function codeOf(action: () => unknown): RansErrorCode {
  try {
    action();
  } catch (error) {
    if (error instanceof RansError) return error.code;
    throw error;
  }
  throw new Error('nothing was thrown');
}

// Made by CompressAI's C++ coder with its three faults mended: room for two more words, 64-bit escapes, a frequency of
// 65536. Those marked (*) its own encoder makes, too.
describe('literal bytes', () => {
  test.each<[string, number[], number[], string]>([
    ['no symbols: the initial state', [], [], '0000008000000000'],
    ['a likely symbol', [0], [0], '00a0cccc00000000'], // 2^31 = 52428 * 0xa000 + 0x8000 -> 52428 * 65536 + 0xa000
    ['every symbol of a table (*)', [-1, 0, 1], [0, 0, 0], '0000242222000000'],
    ['the first escape above', [2], [0], '00f0000080000000'],
    ['the first escape below', [-2], [0], '11f0000000080000'],
    ['the largest of seven digits (*)', [2 ** 27 + 1, 0, 0], [0, 0, 0], '07f0da7a14000000feffff0f'],
    ['the smallest of eight digits', [2 ** 27 + 2, 0, 0], [0, 0, 0], '08f0a0ad4701000000000001'],
    ['the same below', [-(2 ** 27) - 2, 0, 0], [0, 0, 0], '18f0a0ad4701000000000001'],
    ['the largest int32', [MAX], [0], 'a8f0000080000000ffffff0f'],
    ['the smallest int32', [MIN], [0], 'd8f0000080000000ffffff0f'],
    ['nine digits below', [MIN], [4], '798c00000001000000000001'],
    ['eight digits and the largest distance', [MAX], [5], 'c98f000000010000ffffff01'],
    ['a table of the escape alone', [5, -3], [1, 1], 'a151000000800000'],
    ['its symbol of no digits', [0], [1], '0000000008000000'],
    ['symbols of 1/65536', [0, 0], [2, 2], '000000800000000000000000'],
    ['almost free symbols (*)', [0, 0, 0, 0], [3, 3, 3, 3], '0400028000000000'],
    ['several tables', [0, 7, -7, 0], [0, 1, 3, 2], 'e15f66cecccc0000d1000000'],
  ])('%s', (_, symbols, indexes, bytes) => {
    expect(hex(encodeWithIndexes(symbols, indexes, cdfs, cdfSizes, offsets))).toBe(bytes);
    expect([...decodeWithIndexes(bytesOf(bytes), indexes, cdfs, cdfSizes, offsets)]).toEqual(symbols);
  });
});

describe('one error code each: bytes', () => {
  test.each<[RansErrorCode, string, string, number[]]>([
    ['truncated', 'no bytes', '', []],
    ['truncated', 'not even a state', '00000080000000', []],
    ['truncated', 'a word is missing', '0000008000000000', [2]],
    ['truncated', 'half a word', '00000080000000000000', [2, 2]],
    ['truncated', 'an escape without its digits', 'a8f0000080000000', [0]],
    ['initial-state', 'a state below 2^31', 'ffffff7f00000000', []],
    ['initial-state', 'a state of 2^63', '0000000000000080', []],
    ['initial-state', 'all ones', 'ffffffffffffffff', [0]],
    ['index-out-of-range', 'a seventh table of six', '00a0cccc00000000', [6]],
    ['index-out-of-range', 'a table before the first', '00a0cccc00000000', [-1]],
    ['index-out-of-range', 'no integer', '00a0cccc00000000', [0.5]],
    ['escape-length', 'ten digits', '1af101000080000011111101', [0]],
    ['escape-length', 'a number of digits that goes on and on', 'ffffff0000000800ffffff0f', [0]],
    ['escape-not-shortest', 'one digit, zero', '01f0000000080000', [0]],
    ['escape-not-shortest', 'a leading zero digit', '12f0000000800000', [0]],
    ['escape-not-shortest', 'nine digits, all zero', '09f000000008000000000000', [0]],
    ['symbol-range', 'one more than the largest int32', 'c8f0000080000000ffffff0f', [0]],
    ['symbol-range', 'one less than the smallest int32', 'f8f0000080000000ffffff0f', [0]],
    ['symbol-range', 'nine digits where eight are the most', '09f000000008000000000001', [0]],
    ['trailing-bytes', 'a word too many', '00a0cccc0000000000000000', [0]],
    ['trailing-bytes', 'a byte too many', '00a0cccc0000000000', [0]],
    ['final-state', 'one too high', '01a0cccc00000000', [0]],
    ['final-state', 'a stream of another table', '00a0cccc00000000', [3]],
    ['final-state', 'a symbol too few', '00a0cccc00000000', []],
  ])('%s: %s', (code, _, bytes, indexes) => {
    expect(codeOf(() => decodeWithIndexes(bytesOf(bytes), indexes, cdfs, cdfSizes, offsets))).toBe(code);
  });
});

describe('one error code each: arguments', () => {
  test.each<[RansErrorCode, string, number[], number[]]>([
    ['length-mismatch', 'a symbol without index', [0, 0], [0]],
    ['index-out-of-range', 'a seventh table of six', [0], [6]],
    ['index-out-of-range', 'a table before the first', [0], [-1]],
    ['index-out-of-range', 'no integer', [0], [Number.NaN]],
    ['symbol-range', 'a fraction', [0.5], [0]],
    ['symbol-range', 'no number', [Number.NaN], [0]],
    ['symbol-range', 'beyond int32', [2 ** 31], [0]],
  ])('%s: %s', (code, _, symbols, indexes) => {
    expect(codeOf(() => encodeWithIndexes(symbols, indexes, cdfs, cdfSizes, offsets))).toBe(code);
  });

  test.each<[RansErrorCode, string, number[][], number[], number[]]>([
    ['length-mismatch', 'a row without size', [[0, 65536]], [], [0]],
    ['length-mismatch', 'a row without offset', [[0, 65536]], [2], []],
    ['length-mismatch', 'an offset without row', [[0, 65536]], [2], [0, 0]],
    ['invalid-table', 'no counts', [[]], [0], [0]],
    ['invalid-table', 'one count', [[0]], [1], [0]],
    ['invalid-table', 'a size that is no integer', [[0, 1, 65536]], [2.5], [0]],
    ['invalid-table', 'a size beyond the row', [[0, 65536]], [3], [0]],
    ['invalid-table', 'a size beyond 65537', [[0, 65536]], [65538], [0]],
    ['invalid-table', 'starts at 1', [[1, 65536]], [2], [0]],
    ['invalid-table', 'ends early', [[0, 65535]], [2], [0]],
    ['invalid-table', 'ends before its size', [[0, 65536, 0]], [3], [0]],
    ['invalid-table', 'ends late', [[0, 65537]], [2], [0]],
    ['invalid-table', 'a frequency of zero', [[0, 5, 5, 65536]], [4], [0]],
    ['invalid-table', 'falls', [[0, 5, 4, 65536]], [4], [0]],
    ['invalid-table', 'a fraction', [[0, 0.5, 65536]], [3], [0]],
    ['invalid-table', 'no number', [[0, Number.NaN, 65536]], [3], [0]],
    ['invalid-table', 'an offset that is no integer', [[0, 65536]], [2], [0.5]],
    ['invalid-table', 'an offset beyond int32', [[0, 65536]], [2], [2 ** 31]],
    ['invalid-table', 'symbols beyond int32', [[0, 1, 2, 65536]], [4], [MAX]],
    ['invalid-table', 'the second table', [[0, 65536], [0]], [2, 1], [0, 0]],
  ])('%s: %s', (code, _, rows, sizes, smallest) => {
    expect(codeOf(() => encodeWithIndexes([], [], rows, sizes, smallest))).toBe(code);
    expect(codeOf(() => decodeWithIndexes(bytesOf('0000008000000000'), [], rows, sizes, smallest))).toBe(
      code,
    );
  });
});

const twoTables = (rows: number[][], sizes: number[], smallest: number[]): string =>
  hex(encodeWithIndexes([0, 0, 1, 1], [0, 1, 0, 1], rows, sizes, smallest));

describe('arguments', () => {
  const symbols = [0, 1, -1, 5];
  const indexes = [0, 0, 0, 3];
  const bytes = hex(encodeWithIndexes(symbols, indexes, cdfs, cdfSizes, offsets));

  test('may be arrays of any kind', () => {
    const rows = cdfs.map((row) => Uint32Array.from(row));
    const sizes = Uint8Array.from(cdfSizes);
    const smallest = Float64Array.from(offsets);
    for (const values of [Int8Array, Int16Array, Int32Array, Float32Array]) {
      const coded = encodeWithIndexes(values.from(symbols), Uint8Array.from(indexes), rows, sizes, smallest);
      expect(hex(coded)).toBe(bytes);
    }
    const arrayLike = { length: 4, 0: 0, 1: 0, 2: 0, 3: 3 };
    expect([...decodeWithIndexes(bytesOf(bytes), arrayLike, rows, sizes, smallest)]).toEqual(symbols);
  });

  test('bytes may lie anywhere in their buffer', () => {
    const buffer = Buffer.concat([Buffer.alloc(3, 0xff), bytesOf(bytes), Buffer.alloc(5, 0xff)]);
    const view = buffer.subarray(3, 3 + bytes.length / 2);
    expect([...decodeWithIndexes(view, indexes, cdfs, cdfSizes, offsets)]).toEqual(symbols);
  });

  test('no tables code no symbols', () => {
    expect(hex(encodeWithIndexes([], [], [], [], []))).toBe('0000008000000000');
    expect(decodeWithIndexes(bytesOf('0000008000000000'), [], [], [], [])).toHaveLength(0);
    expect(codeOf(() => encodeWithIndexes([0], [0], [], [], []))).toBe('index-out-of-range');
  });

  test.each<[string, (rows: number[][], sizes: number[], smallest: number[]) => unknown]>([
    ['a count', (rows) => rows[0]!.splice(1, 1, 200)],
    ['a row', (rows) => rows.splice(0, 1, [0, 300, 65000, 65536])],
    ['the number of counts', (rows, sizes) => [rows[1]!.splice(2, 2, 60000, 65536), sizes.splice(1, 1, 4)]],
    ['an offset', (_, __, smallest) => smallest.splice(0, 1, -1)],
  ])('may be changed between calls: %s', (_, change) => {
    const rows = [[0, 100, 65000, 65536], [0, 30000, 65536, 0]]; // prettier-ignore
    const sizes = [4, 3];
    const smallest = [0, 0];
    const before = twoTables(rows, sizes, smallest);
    change(rows, sizes, smallest);
    const after = twoTables(rows, sizes, smallest);
    expect(after).not.toBe(before);
    expect(after).toBe(twoTables(structuredClone(rows), sizes, smallest));
  });

  test('are checked again when they are changed', () => {
    const rows = [[0, 100, 65536, 0]];
    const sizes = [3];
    const coded = (): string => hex(encodeWithIndexes([0], [0], rows, sizes, [0]));
    coded();
    rows[0]![2] = 65535;
    expect(codeOf(coded)).toBe('invalid-table');
    rows[0]![2] = 65536;
    sizes[0] = 4;
    expect(codeOf(coded)).toBe('invalid-table');
    sizes[0] = 3;
    rows.push([0, 65536]);
    expect(codeOf(coded)).toBe('length-mismatch');
  });

  test('a table of 65,536 entries', () => {
    const flat = [Array.from({ length: 65537 }, (_, k) => k)];
    const all = Int32Array.from({ length: 70000 }, (_, i) => i - 2000);
    const first = new Uint8Array(all.length);
    const coded = encodeWithIndexes(all, first, flat, [65537], [0]);
    const decoded = decodeWithIndexes(coded, first, flat, [65537], [0]);
    expect(Buffer.compare(new Uint8Array(decoded.buffer), new Uint8Array(all.buffer))).toBe(0);
  });
});
