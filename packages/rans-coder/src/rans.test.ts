import { describe, expect, test } from 'vitest';
import { RansError, RansTables, decode, encode } from './index.ts';
import type { Distribution, RansErrorCode } from './index.ts';

// Table 0: symbols -1, 0, 1. Table 1: symbol 0 takes all that it may. Table 2: the escape does.
const tables = RansTables.fromFrequencies([
  { offset: -1, frequencies: [0x2000, 0xa000, 0x3000, 0x1000] },
  { offset: 0, frequencies: [65535, 1] },
  { offset: 0, frequencies: [1, 65535] },
]);

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

function codeOf(action: () => unknown): RansErrorCode {
  try {
    action();
  } catch (error) {
    if (error instanceof RansError) return error.code;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('literal bytes', () => {
  test.each<[string, number[], number[], string]>([
    ['no symbols: the initial state', [], [], '00000100'],
    ['a likely symbol', [0], [0], '00800100'], // 65536 = 1 * 0xa000 + 0x6000 -> 1 * 65536 + 0x2000 + 0x6000
    ['every symbol of a table', [-1, 0, 1], [0, 0, 0], '00104a00'],
    ['an escape', [2], [0], '41f00010'],
    ['the smallest int32', [-(2 ** 31)], [0], 'f8f00001ffffff0f'],
    ['the largest int32', [2 ** 31 - 1], [0], 'f8f00001ffffff0e'],
    ['an escape of 1/65536', [1], [1], 'ffff00012100'],
    ['a symbol of 1/65536', [0], [2], '000001000000'],
    ['almost free symbols', [0, 0, 0, 0], [1, 1, 1, 1], '04000100'],
    ['escapes only', [1, -1], [2, 2], '030001002211'],
    ['three tables in one stream', [0, 1, -5, 0], [0, 1, 2, 0], 'ff3f030001802221'],
  ])('%s', (_, symbols, indexes, bytes) => {
    expect(toHex(encode(Int32Array.from(symbols), Uint16Array.from(indexes), tables))).toBe(bytes);
    expect([...decode(fromHex(bytes), Uint16Array.from(indexes), tables)]).toEqual(symbols);
  });
});

describe('one error code each', () => {
  test.each<[RansErrorCode, string, string, number[]]>([
    ['truncated', 'no bytes', '', []],
    ['truncated', 'not even a state', '000001', []],
    ['truncated', 'half a word', '0000010000', [2]],
    ['initial-state', 'a state below 65536', 'ffff0000', []],
    ['index-out-of-range', 'a fourth table of three', '00800100', [3]],
    ['escape-length', 'nine digits', '1a001000', [2]],
    ['escape-not-shortest', 'one digit, zero', '02010001', [2]],
    ['escape-not-shortest', 'a symbol that the table has', '11001000', [2]],
    ['trailing-bytes', 'a word too many', '008001000000', [0]],
    ['trailing-bytes', 'a byte too many', '0080010000', [0]],
    ['final-state', 'a stream of another table', '00800100', [1]],
    ['final-state', 'a symbol too few', '00800100', []],
  ])('%s: %s', (code, _, bytes, indexes) => {
    expect(codeOf(() => decode(fromHex(bytes), Uint16Array.from(indexes), tables))).toBe(code);
  });

  test('symbol-range: an escaped 32768 into int16', () => {
    const indexes = new Uint16Array(1);
    const bytes = encode(Int32Array.of(32768), indexes, tables);
    expect([...decode(bytes, indexes, tables)]).toEqual([32768]);
    expect(codeOf(() => decode(bytes, indexes, tables, new Int16Array(1)))).toBe('symbol-range');
  });

  test('length-mismatch: symbols, indexes and out of different lengths', () => {
    expect(codeOf(() => encode(new Int16Array(2), new Uint16Array(1), tables))).toBe('length-mismatch');
    expect(codeOf(() => decode(new Uint8Array(4), new Uint16Array(1), tables, new Int16Array(2)))).toBe(
      'length-mismatch',
    );
  });

  test('index-out-of-range: the encoder checks too', () => {
    expect(codeOf(() => encode(new Int16Array(1), Uint16Array.of(3), tables))).toBe('index-out-of-range');
  });

  test.each<[string, Distribution]>([
    ['no entries', { offset: 0, frequencies: [] }],
    ['the escape alone', { offset: 0, frequencies: [65536] }],
    ['a zero frequency', { offset: 0, frequencies: [65535, 0, 1] }],
    ['a negative frequency', { offset: 0, frequencies: [65537, -1] }],
    ['a fraction', { offset: 0, frequencies: [65534.5, 1.5] }],
    ['a sum below 65536', { offset: 0, frequencies: [1, 65534] }],
    ['a sum above 65536', { offset: 0, frequencies: [65535, 2] }],
    ['not a number', { offset: 0, frequencies: [65535, Number.NaN] }],
    ['a fractional offset', { offset: 0.5, frequencies: [1, 65535] }],
    ['symbols below int16', { offset: -32769, frequencies: [1, 65535] }],
    ['symbols above int16', { offset: 32767, frequencies: [1, 1, 65534] }],
  ])('invalid-table: %s', (_, table) => {
    expect(codeOf(() => RansTables.fromFrequencies([table]))).toBe('invalid-table');
  });

  test('invalid-table: more tables than an index can name', () => {
    const table = { offset: 0, frequencies: [1, 65535] };
    expect(codeOf(() => RansTables.fromFrequencies(Array.from({ length: 65537 }, () => table)))).toBe(
      'invalid-table',
    );
  });
});

/** Codes and decodes; returns the size in bytes. */
function roundTrip(symbols: Int32Array, indexes: Uint16Array, pool: RansTables): number {
  const bytes = encode(symbols, indexes, pool);
  expect(decode(bytes, indexes, pool)).toEqual(symbols);
  return bytes.length;
}

describe('extremes', () => {
  test('40,000 symbols of 65535/65536 take one bit', () => {
    expect(roundTrip(new Int32Array(40_000), new Uint16Array(40_000).fill(1), tables)).toBe(4);
  });

  test('10,000 escapes of every magnitude', () => {
    const symbols = Int32Array.from({ length: 10_000 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >> (i % 32));
    const escaped = symbols.filter((symbol) => symbol !== 0);
    roundTrip(escaped, new Uint16Array(escaped.length).fill(2), tables);
  });

  test('the widest table: every int16 but the largest, each 1/65536', () => {
    const wide = RansTables.fromFrequencies([
      { offset: -32768, frequencies: new Uint16Array(65536).fill(1) },
    ]);
    const symbols = Int32Array.from({ length: 65536 }, (_, i) => i - 32768); // the last one escapes
    expect(roundTrip(symbols, new Uint16Array(65536), wide)).toBe(4 + 2 * 65536 + 2); // an escape of 4 digits adds 20 bits
  });

  test('a table gives back its frequencies', () => {
    expect([...tables.frequencies(0)]).toEqual([0x2000, 0xa000, 0x3000, 0x1000]);
    expect([...tables.frequencies(2)]).toEqual([1, 65535]);
  });

  test('bits count the entry and the digits', () => {
    expect(tables.bits(0, -1)).toBe(3); // 2^13 of 2^16
    expect(tables.bits(0, 2)).toBe(4 + 4 + 4); // the escape, the count, one digit
    expect(tables.bits(0, -(2 ** 31))).toBe(4 + 4 + 32);
  });
});
