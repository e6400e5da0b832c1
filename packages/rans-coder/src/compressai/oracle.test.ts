import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RansError, decodeWithIndexes, encodeWithIndexes } from './index.ts';

/*
 * The naive coder: CompressAI's format on BigInt, one list of (cumulative, frequency, total bits) steps, no lookup, no
 * halves. Slow and hopefully obvious; the real coder must give the same bytes.
 */
interface Step {
  cumulative: bigint;
  frequency: bigint;
  bits: bigint; // frequencies of this step sum to 2^bits
}

interface Table {
  cdf: readonly number[];
  offset: number;
}

const LOWEST = 1n << 31n;

const digit = (d: number): Step => ({ cumulative: BigInt(d), frequency: 1n, bits: 4n });

function entry({ cdf }: Table, k: number): Step {
  return { cumulative: BigInt(cdf[k]!), frequency: BigInt(cdf[k + 1]! - cdf[k]!), bits: 16n };
}

function stepsOf(symbol: number, table: Table): Step[] {
  const k = symbol - table.offset;
  const last = table.cdf.length - 2;
  if (k >= 0 && k < last) return [entry(table, k)];
  const escape = k < 0 ? -2 * k - 1 : 2 * (k - last);
  const digits = escape === 0 ? [] : Array.from(escape.toString(16), (d) => Number.parseInt(d, 16));
  return [entry(table, last), digit(digits.length), ...digits.toReversed().map(digit)];
}

function streamOf(steps: readonly Step[]): Uint8Array {
  const words: bigint[] = []; // in reading order
  let x = LOWEST;
  for (const { cumulative, frequency, bits } of steps.toReversed()) {
    if (x >= ((LOWEST >> bits) << 32n) * frequency) {
      words.unshift(x & 0xffffffffn);
      x >>= 32n;
    }
    x = ((x / frequency) << bits) + cumulative + (x % frequency);
  }
  const bytes = new Uint8Array(8 + 4 * words.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, x, true);
  for (const [i, word] of words.entries()) view.setUint32(8 + 4 * i, Number(word), true);
  return bytes;
}

interface Message {
  tables: Table[];
  symbols: number[];
  indexes: number[];
  padding: number;
}

/** The three arguments that say what the tables are. */
function pool({ tables, padding }: Message): [number[][], number[], number[]] {
  const rows = tables.map(({ cdf }) => [...cdf, ...Array.from({ length: padding }, () => 0)]);
  return [rows, tables.map(({ cdf }) => cdf.length), tables.map(({ offset }) => offset)];
}

const cdfs = fc.oneof(
  fc
    .uniqueArray(fc.integer({ min: 1, max: 65535 }), { maxLength: 40 })
    .map((cuts) => [0, ...cuts.toSorted((a, b) => a - b), 65536]),
  // one entry takes almost everything
  fc
    .record({ below: fc.nat(20), above: fc.nat(20) })
    .map(({ below, above }) => [
      ...Array.from({ length: below + 1 }, (_, k) => k),
      ...Array.from({ length: above + 1 }, (_, k) => 65536 - above + k),
    ]),
);

const int32s = fc.oneof(fc.integer(), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, 2 ** 30, -(2 ** 27)));

const tablesOf = fc.record({
  cdf: cdfs,
  offset: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: -300, max: 300 }) },
    { weight: 1, arbitrary: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1000 }) },
  ),
});

const messages: fc.Arbitrary<Message> = fc
  .array(tablesOf, { minLength: 1, maxLength: 5 })
  .chain((tables) =>
    fc.record({
      tables: fc.constant(tables),
      padding: fc.nat(3),
      coded: fc.array(
        fc.nat(tables.length - 1).chain((index) => {
          const { cdf, offset } = tables[index]!;
          const near = fc.integer({ min: -3, max: cdf.length }).map((k) => Math.max(-(2 ** 31), offset + k));
          return fc.tuple(
            fc.constant(index),
            fc.oneof({ weight: 9, arbitrary: near }, { weight: 1, arbitrary: int32s }),
          );
        }),
        { maxLength: 100 },
      ),
    }),
  )
  .map(({ tables, padding, coded }) => ({
    tables,
    padding,
    indexes: coded.map(([index]) => index),
    symbols: coded.map(([, symbol]) => symbol),
  }));

describe('against the naive coder', () => {
  test('any message has its bytes, and decodes', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const { tables, symbols, indexes } = message;
        const bytes = encodeWithIndexes(symbols, indexes, ...pool(message));
        expect(bytes).toEqual(
          streamOf(symbols.flatMap((symbol, i) => stepsOf(symbol, tables[indexes[i]!]!))),
        );
        expect([...decodeWithIndexes(bytes, indexes, ...pool(message))]).toEqual(symbols);
      }),
      { seed: 1, numRuns: 1000 },
    );
  });
});

/** Decodes; only a RansError may come out, and what is accepted is what the encoder would have written. */
function attack(bytes: Uint8Array, message: Message): void {
  let symbols: Int32Array;
  try {
    symbols = decodeWithIndexes(bytes, message.indexes, ...pool(message));
  } catch (error) {
    expect(error).toBeInstanceOf(RansError);
    return;
  }
  expect(encodeWithIndexes(symbols, message.indexes, ...pool(message))).toEqual(Uint8Array.from(bytes));
}

describe('hostile bytes', () => {
  test('random bytes', () => {
    fc.assert(
      fc.property(messages, fc.uint8Array({ maxLength: 60 }), (message, bytes) => attack(bytes, message)),
      { seed: 2, numRuns: 3000 },
    );
  });

  test('a stream with one bit flipped', () => {
    fc.assert(
      fc.property(messages, fc.nat(), (message, position) => {
        const bytes = encodeWithIndexes(message.symbols, message.indexes, ...pool(message));
        const bit = position % (8 * bytes.length);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        attack(bytes, message);
      }),
      { seed: 3, numRuns: 3000 },
    );
  });

  test('a well-formed stream of escapes that no encoder would choose', () => {
    const escapes = fc.array(
      fc.oneof(
        fc.array(fc.nat(15), { maxLength: 12 }), // a true number of digits
        fc.array(fc.nat(15), { minLength: 8, maxLength: 9 }),
        fc.constant(Array.from({ length: 30 }, () => 15)),
      ),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(tablesOf, escapes, (table, list) => {
        const last = entry(table, table.cdf.length - 2);
        const steps = list.flatMap((digits) => [
          last,
          digit(Math.min(15, digits.length)),
          ...digits.map(digit),
        ]);
        const message = { tables: [table], symbols: [], indexes: list.map(() => 0), padding: 0 };
        attack(streamOf(steps), message);
      }),
      { seed: 4, numRuns: 3000 },
    );
  });

  test('a stream cut at every length says truncated', () => {
    const cdf = [0, 100, 3000, 20000, 50000, 64000, 65400, 65536];
    const symbols = Int32Array.from({ length: 200 }, (_, i) => ((i * 7919) % 9) - 4); // -4, 3 and 4 escape
    const indexes = new Uint8Array(symbols.length);
    const bytes = encodeWithIndexes(symbols, indexes, [cdf], [cdf.length], [-3]);
    expect(decodeWithIndexes(bytes, indexes, [cdf], [cdf.length], [-3])).toEqual(symbols);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeWithIndexes(bytes.subarray(0, length), indexes, [cdf], [cdf.length], [-3])).toThrow(
        expect.objectContaining({ code: 'truncated' }),
      );
    }
  });
});
