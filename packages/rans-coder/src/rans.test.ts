import { describe, expect, test } from 'vitest';
import { RansError, RansTables, constant, decode, encode, engines, lanesOf } from './index.ts';
import type { EngineName, Indexes, Lanes, RansErrorCode } from './index.ts';

// Table 0: symbols -1, 0, 1. Table 1: symbol 0 takes all that it may. Table 2: the escape does.
const tables = RansTables.fromFrequencies([
  { offset: -1, frequencies: [0x2000, 0xa000, 0x3000, 0x1000] },
  { offset: 0, frequencies: [65535, 1] },
  { offset: 0, frequencies: [1, 65535] },
]);

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

const each = (...list: number[]): Uint16Array => Uint16Array.from(list);
const runs = (length: number, ...list: number[]): Indexes => ({ tables: Uint16Array.from(list), length });

const zeros = (length: number): number[] => Array.from({ length }, () => 0);

function errorOf(action: () => unknown): RansError {
  try {
    action();
  } catch (error) {
    if (error instanceof RansError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe.each<EngineName>(['wasm', 'plain'])('%s: literal bytes', (engine) => {
  test.each<[string, number[], Indexes, Lanes, string]>([
    ['no symbols: the first state', [], each(), 1, '00008000'],
    ['no symbols, two lanes', [], each(), 2, '00008000 00008080'],
    ['no symbols, four lanes', [], each(), 4, '00008000 00008080 00008080 00008080'],
    // 2^23 = 204 * 0xa000 + 0x8000 -> 204 * 65536 + 0x2000 + 0x8000
    ['a likely symbol', [0], each(0), 1, '00a0cc00'],
    ['every symbol of a table', [-1, 0, 1], each(0, 0, 0), 1, '00002422'],
    ['every symbol, two lanes', [-1, 0, 1], each(0, 0, 0), 2, '00a0cc00 00005795'],
    ['every symbol, four lanes', [-1, 0, 1], each(0, 0, 0), 4, '00008000 00e0aa82 00a0cc80 00000084'],
    ['an escape: a count of 1 and the digit 4', [2], each(0), 1, '04 01f00008'],
    ['the smallest int32', [-(2 ** 31)], each(0), 1, '0fffffff f800f08000'],
    ['the largest int32', [2 ** 31 - 1], each(0), 1, '0effffff f800f08000'],
    ['an escape of 1/65536', [1], each(1), 1, '0201 00ffff8000'],
    // 2^23 -> 2^15 and a byte pushed -> 2^7 and another -> 2^7 * 65536 + 0
    ['a symbol of 1/65536', [0], each(2), 1, '0000 00008000'],
    ['escapes only', [-1, 1], each(2, 2), 1, '022102018000'],
    ['almost free symbols', [0, 0, 0, 0], each(1, 1, 1, 1), 1, '00028000'],
    ['three tables in one stream', [0, 1, -5, 0], each(0, 1, 2, 0), 1, '09e2c1a0ffbf4701'],
    ['three tables, two lanes', [0, 1, -5, 0], each(0, 1, 2, 0), 2, '090201a0 ffffcc00 82a0cc80'],
    ['no runs', [], runs(5), 1, '00008000'],
    ['runs of no symbols', [], runs(0, 0, 1), 1, '00008000'],
    ['a run of one has no flag', [0], runs(1, 0), 1, '00a0cc00'],
    // the chance of three is 65536 * 0.625^3 = 16000: 2^23 = 524 * 16000 + 4608 -> 524 * 65536 + 4608
    ['a run of its likeliest symbol is a flag', [0, 0, 0], runs(3, 0), 1, '00120c02'],
    ['the flag is in lane 0', [0, 0, 0], runs(3, 0), 2, '00008000 00120c82'],
    ['a flag that is not set', [0, 1, 0], runs(3, 0), 1, '80e50609'],
    ['no flag where it would not pay: 0.625^10', zeros(10), runs(10, 0), 1, '0060e536'],
    ['a hundred almost free symbols', zeros(100), constant(1, 100), 1, '00328000'],
    ['a run with an escape', [7, 0], runs(2, 1), 1, '0e8100ffffff7f40'],
    ['two runs, two lanes', [0, 0, 0, 0, 0, -1], runs(3, 1, 0), 2, '00a0cc00 65c57788'],
  ])('%s', (_, symbols, indexes, lanes, bytes) => {
    const stream = fromHex(bytes);
    expect(toHex(encode(Int32Array.from(symbols), indexes, tables, { lanes, engine }))).toBe(toHex(stream));
    expect(decode(stream, indexes, tables, { engine })).toEqual(Int32Array.from(symbols));
    if (symbols.some((symbol) => Math.abs(symbol) > 32767)) return;
    const out = new Int16Array(symbols.length);
    expect(toHex(encode(Int16Array.from(symbols), indexes, tables, { lanes, engine }))).toBe(toHex(stream));
    expect(decode(stream, indexes, tables, { engine, out })).toEqual(Int16Array.from(symbols));
  });

  test('bytes in the middle of a buffer', () => {
    const stream = Uint8Array.of(0xff, 0xff, ...fromHex('04 01f00008'), 0xff, 0xff);
    expect([...decode(stream.subarray(2, -2), each(0), tables, { engine })]).toEqual([2]);
  });
});

/** Asserts that both engines throw this code, with one message. */
function check(code: RansErrorCode, action: (engine: EngineName) => unknown): void {
  const [wasm, plain] = engines().map((engine) => errorOf(() => action(engine)));
  expect(wasm!.code).toBe(code);
  expect(plain!.code).toBe(code);
  expect(wasm!.message).toBe(plain!.message);
}

describe('one error code each, from both engines', () => {
  test.each<[RansErrorCode, string, string, Indexes]>([
    ['truncated', 'no bytes', '', each()],
    ['truncated', 'not even a state', '008000', each()],
    ['truncated', 'a second lane is said to follow', '00008080', each()],
    ['truncated', 'in a symbol', '00008000', each(0)], // slot 0 is of 0x2000: 0x2000 * 128 is below 2^23
    ['truncated', 'in the flag of a run', '00008000', runs(3, 0)], // slot 0 is of 16000
    ['truncated', 'before the digit of an escape', '01f00008', each(0)],
    ['lane-count', 'three lanes', '00008000 00008080 00008080', each()],
    ['lane-count', 'a fifth lane', '00008000 00008080 00008080 00008080 00008080', each()],
    ['initial-state', 'a state of 0', '00000000', each()],
    ['initial-state', 'a state below 2^23', 'ffff7f00', each(0)],
    ['initial-state', 'a second lane below 2^23', 'ffff7f00 00008080', each()],
    ['index-out-of-range', 'a fourth table of three', '00a0cc00', each(3)],
    ['index-out-of-range', 'the last of all indexes, before a stream that is wrong', '00', each(0, 65535)],
    ['index-out-of-range', 'a run', '00a0cc00', runs(1, 3)],
    ['index-out-of-range', 'a run of no symbols', '00008000', runs(0, 3)],
    ['run-not-flagged', 'three of the likeliest', '80d0b402', runs(3, 0)],
    ['run-not-flagged', 'three of them, two lanes', '00a0cc00 0055b181', runs(3, 0)],
    ['run-not-flagged', 'two that are almost free', '00ffff0040', runs(2, 1)],
    ['escape-length', 'nine digits', '01111111 1109f00008', each(0)],
    ['escape-length', 'fifteen digits', '0f00f08000', each(0)],
    ['escape-not-shortest', 'two digits, 05', '050200f08000', each(0)],
    ['escape-not-shortest', 'one digit, 0', '000100ffff8000', each(1)],
    ['escape-not-shortest', 'a symbol that the table has, 0', '0000f08000', each(0)],
    ['escape-not-shortest', 'a symbol that the table has, 1', '0201f00008', each(0)],
    ['escape-not-shortest', 'in the second lane', '0101f00008 00a0cc80', each(0, 0)],
    ['trailing-bytes', 'a byte in front', '00 00a0cc00', each(0)],
    ['trailing-bytes', 'a stream in front', '00a0cc00 00a0cc00', each(0)],
    ['final-state', 'a stream of another table', '00a0cc00', each(1)],
    ['final-state', 'a symbol too few', '00a0cc00', each()],
    ['final-state', 'the second lane', '00a0cc00 00008080', each()],
  ])('%s: %s', (code, _, bytes, indexes) => {
    check(code, (engine) => decode(fromHex(bytes), indexes, tables, { engine }));
  });

  test.each<[number, string]>([
    [32768, '0000 0105f00008'],
    [-32769, '0100 0105f00008'],
    [2 ** 31 - 1, '0effffff f800f08000'],
  ])('symbol-range: an escaped %i into int16', (symbol, bytes) => {
    const out = new Int16Array(1);
    check('symbol-range', (engine) => decode(fromHex(bytes), each(0), tables, { engine, out }));
    expect([...decode(fromHex(bytes), each(0), tables)]).toEqual([symbol]);
  });

  test.each<[string, number, Indexes, number]>([
    ['a symbol too many', 2, each(0), 2],
    ['a symbol too few', 0, each(0), 0],
    ['not whole runs', 5, runs(3, 0, 0), 5],
    ['runs of a negative length', 0, runs(-1, 0), 0],
    ['runs of half a symbol', 1, runs(0.5, 0, 0), 1],
    ['runs of no number', 0, runs(Number.NaN, 0), 0],
    ['runs without end', 0, runs(Infinity, 0), 0],
  ])('length-mismatch: %s', (_, symbols, indexes, room) => {
    check('length-mismatch', (engine) => encode(new Int16Array(symbols), indexes, tables, { engine }));
    const out = new Int32Array(room);
    check('length-mismatch', (engine) => decode(fromHex('00a0cc00'), indexes, tables, { engine, out }));
  });

  test.each<[string, Indexes]>([
    ['a symbol', each(0, 3)],
    ['a run', runs(1, 0, 3)],
  ])('index-out-of-range: the encoder checks %s too', (_, indexes) => {
    check('index-out-of-range', (engine) => encode(new Int16Array(2), indexes, tables, { engine }));
    check('index-out-of-range', (engine) => encode(new Int32Array(2), indexes, tables, { engine }));
  });

  test.each([0, 3, 8, 1.5, Number.NaN])('lane-count: %d lanes are asked for', (lanes) => {
    const options = { lanes: lanes as Lanes }; // as from JavaScript
    check('lane-count', (engine) => encode(new Int16Array(1), each(0), tables, { ...options, engine }));
  });

  test('index-out-of-range: any index into no tables', () => {
    const none = RansTables.fromFrequencies([]);
    check('index-out-of-range', (engine) => encode(new Int16Array(1), each(0), none, { engine }));
    expect(toHex(encode(new Int16Array(0), each(), none))).toBe('00008000');
  });

  // 'invalid-table' is in distribution.test.ts, 'tables-format' and 'tables-checksum' in tables-file.test.ts,
  // 'engine-unavailable' in engine.test.ts
});

describe.each<EngineName>(['wasm', 'plain'])('%s: extremes', (engine) => {
  /** Codes and decodes; returns the size in bytes. */
  function roundTrip(symbols: Int32Array, indexes: Indexes, pool: RansTables): number {
    const bytes = encode(symbols, indexes, pool, { engine });
    expect(decode(bytes, indexes, pool, { engine })).toEqual(symbols);
    return bytes.length;
  }

  test('40,000 symbols of 65535/65536 take one bit', () => {
    expect(roundTrip(new Int32Array(40_000), new Uint16Array(40_000).fill(1), tables)).toBe(4);
    expect(roundTrip(new Int32Array(40_000), constant(1, 40_000), tables)).toBe(4);
  });

  test('10,000 escapes of every magnitude', () => {
    const symbols = Int32Array.from({ length: 10_000 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >> (i % 32));
    const escaped = symbols.filter((symbol) => symbol !== 0);
    roundTrip(escaped, new Uint16Array(escaped.length).fill(2), tables);
    roundTrip(escaped, constant(2, escaped.length), tables);
  });

  test('the widest table: every int16 but the largest, each 1/65536', () => {
    const wide = RansTables.fromFrequencies([
      { offset: -32768, frequencies: new Uint16Array(65536).fill(1) },
    ]);
    const symbols = Int32Array.from({ length: 65536 }, (_, i) => i - 32768); // the last one escapes
    // an escape of 4 digits adds 20 bits
    expect(roundTrip(symbols, new Uint16Array(65536), wide)).toBe(4 * 4 + 2 * 65536 + 2);
  });

  test('as many tables as an index can name', () => {
    const pool = RansTables.fromFrequencies(
      Array.from({ length: 65536 }, (_, t) => ({ offset: t - 32768, frequencies: [65535, 1] })),
    );
    const symbols = Int32Array.from({ length: 65535 }, (_, t) => t - 32768);
    expect(roundTrip(symbols, Uint16Array.from(symbols.keys()), pool)).toBe(4);
  });
});

test('lanes are at most 1 % of the bytes, also where symbols are likelier than their tables expect', () => {
  // the second symbol costs 1.36 bits and is taken for one of the others, which cost 4 on average
  const rare = Array.from({ length: 100 }, () => 136);
  const misled = RansTables.fromFrequencies([{ offset: 0, frequencies: [26000, 25500, ...rare, 436] }]);
  for (let length = 500; length < 12_000; length += 500) {
    const bytes = encode(new Int16Array(length).fill(1), constant(0, length), misled);
    expect(4 * lanesOf(bytes)).toBeLessThanOrEqual(Math.max(8, bytes.length / 100));
    expect(decode(bytes, constant(0, length), misled)).toEqual(new Int32Array(length).fill(1));
  }
});
