import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RansError, RansTables, decode, encode } from './index.ts';
import type { Distribution } from './index.ts';

/*
 * The naive coder: rANS as the text books have it, on BigInt, one list of (cumulative, frequency, total bits) steps,
 * no lookup, no reuse. Slow and hopefully obvious; the real coder must give the same bytes.
 */
interface Step {
  cumulative: bigint;
  frequency: bigint;
  bits: bigint; // frequencies of this step sum to 2^bits
}

const digit = (d: number): Step => ({ cumulative: BigInt(d), frequency: 1n, bits: 4n });

function stepsOf(symbol: number, { offset, frequencies }: Distribution): Step[] {
  const list = Array.from(frequencies, BigInt);
  const entry = (k: number): Step => ({
    cumulative: list.slice(0, k).reduce((a, b) => a + b, 0n),
    frequency: list.at(k)!,
    bits: 16n,
  });
  const escape = list.length - 1;
  if (symbol >= offset && symbol < offset + escape) return [entry(symbol - offset)];
  const value = symbol >= 0 ? 2n * BigInt(symbol) : -2n * BigInt(symbol) - 1n;
  const digits = value === 0n ? [] : Array.from(value.toString(16), (d) => Number.parseInt(d, 16));
  return [entry(escape), digit(digits.length), ...digits.map(digit)];
}

function naiveEncode(
  symbols: readonly number[],
  indexes: readonly number[],
  tables: readonly Distribution[],
): Uint8Array {
  const steps = symbols.flatMap((symbol, i) => stepsOf(symbol, tables.at(indexes.at(i)!)!));
  const bytes: number[] = []; // in reading order
  let x = 1n << 16n;
  for (const { cumulative, frequency, bits } of steps.toReversed()) {
    const largest = ((1n << 16n) >> bits) * frequency * (1n << 16n);
    while (x >= largest) {
      bytes.unshift(Number(x & 0xffn), Number((x >> 8n) & 0xffn));
      x >>= 16n;
    }
    x = ((x / frequency) << bits) + cumulative + (x % frequency);
  }
  for (const shift of [24n, 16n, 8n, 0n]) bytes.unshift(Number((x >> shift) & 0xffn));
  return Uint8Array.from(bytes);
}

/** A distribution over `weights.length` symbols and the escape: proportional to the weights, each at least 1. */
function distribution(offset: number, weights: readonly number[], escape: number): Distribution {
  const all = [...weights, escape];
  const room = 65536 - all.length;
  const sum = all.reduce((a, b) => a + b, 0) || 1;
  const frequencies = all.map((w) => 1 + Math.floor((w / sum) * room));
  const missing = 65536 - frequencies.reduce((a, b) => a + b, 0);
  return { offset, frequencies: frequencies.map((f, k) => (k === 0 ? f + missing : f)) };
}

const distributions = fc
  .tuple(
    fc.integer({ min: -300, max: 300 }),
    fc.array(fc.nat(1000), { minLength: 1, maxLength: 40 }),
    fc.nat(1000),
  )
  .map(([offset, weights, escape]) => distribution(offset, weights, escape));

const message = fc.array(distributions, { minLength: 1, maxLength: 5 }).chain((tables) =>
  fc.record({
    tables: fc.constant(tables),
    coded: fc.array(
      fc.tuple(
        fc.nat(tables.length - 1),
        fc.oneof(
          { weight: 9, arbitrary: fc.integer({ min: -350, max: 350 }) },
          { weight: 1, arbitrary: fc.integer() },
        ),
      ),
      { maxLength: 60 },
    ),
  }),
);

describe('against the naive coder', () => {
  test('any message has its bytes, and decodes', () => {
    fc.assert(
      fc.property(message, ({ tables, coded }) => {
        const pool = RansTables.fromFrequencies(tables);
        const indexes = coded.map(([index]) => index);
        const symbols = coded.map(([, symbol]) => symbol);
        const bytes = encode(Int32Array.from(symbols), Uint16Array.from(indexes), pool);
        expect(bytes).toEqual(naiveEncode(symbols, indexes, tables));
        expect([...decode(bytes, Uint16Array.from(indexes), pool)]).toEqual(symbols);
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test('the size is the information, the last state and at most one word', () => {
    fc.assert(
      fc.property(message, ({ tables, coded }) => {
        const pool = RansTables.fromFrequencies(tables);
        const bits = coded.reduce((sum, [index, symbol]) => sum + pool.bits(index, symbol), 0);
        const bytes = naiveEncode(coded.map(([, s]) => s), coded.map(([i]) => i), tables); // prettier-ignore
        expect(Math.abs(8 * bytes.length - 16 - bits)).toBeLessThanOrEqual(17);
      }),
      { seed: 2, numRuns: 200 },
    );
  });
});

/** Decodes; only a RansError may come out, and what is accepted is what the encoder would have written. */
function attack(bytes: Uint8Array, indexes: Uint16Array, pool: RansTables): void {
  let symbols: Int32Array;
  try {
    symbols = decode(bytes, indexes, pool);
  } catch (error) {
    expect(error).toBeInstanceOf(RansError);
    return;
  }
  expect(encode(symbols, indexes, pool)).toEqual(Uint8Array.from(bytes));
}

describe('hostile bytes', () => {
  test('random bytes', () => {
    fc.assert(
      fc.property(message, fc.uint8Array({ maxLength: 40 }), ({ tables, coded }, bytes) => {
        attack(
          bytes,
          Uint16Array.from(coded, ([index]) => index),
          RansTables.fromFrequencies(tables),
        );
      }),
      { seed: 3, numRuns: 2000 },
    );
  });

  test('a stream with one bit flipped', () => {
    fc.assert(
      fc.property(message, fc.nat(), ({ tables, coded }, position) => {
        const pool = RansTables.fromFrequencies(tables);
        const indexes = Uint16Array.from(coded, ([index]) => index);
        const bytes = encode(Int32Array.from(coded, ([, symbol]) => symbol), indexes, pool); // prettier-ignore
        const bit = position % (8 * bytes.length);
        bytes.set([bytes.at(bit >> 3)! ^ (1 << (bit & 7))], bit >> 3);
        attack(bytes, indexes, pool);
      }),
      { seed: 4, numRuns: 2000 },
    );
  });

  test('a stream cut at every length says truncated', () => {
    const pool = RansTables.fromFrequencies([distribution(-4, [1, 3, 9, 27, 81, 27, 9, 3, 1], 1)]);
    const symbols = Int32Array.from({ length: 200 }, (_, i) => ((i * 7919) % 11) - 5); // -5 and 5 escape
    const indexes = new Uint16Array(symbols.length);
    const bytes = encode(symbols, indexes, pool);
    expect(decode(bytes, indexes, pool)).toEqual(symbols);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decode(bytes.subarray(0, length), indexes, pool)).toThrow(
        expect.objectContaining({ code: 'truncated' }),
      );
    }
  });
});
