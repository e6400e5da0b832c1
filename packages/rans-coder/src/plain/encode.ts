import { PROBABILITY_BITS } from '../distribution.ts';
import { DIGIT_BITS, digitCount, zigzag } from '../escape.ts';
import { checkIndexes } from '../indexes.ts';
import type { Indexes } from '../indexes.ts';
import { lanesFor, runCost } from '../lanes.ts';
import { flagFrequency } from '../run-flag.ts';
import { LOWEST_STATE, MORE_LANES } from '../state.ts';
import type { Lanes } from '../state.ts';
import { ENTRY_WORDS } from '../tables.ts';
import type { RansTables, Row } from '../tables.ts';
import { Stack } from './stack.ts';

/** A state may be at most this times the frequency, so that a step leaves it below 2^31. */
const LIMIT_SHIFT: number = 31 - PROBABILITY_BITS;

/**
 * The encoder in plain TypeScript: the one that is always right. The caller has checked the lengths.
 *
 * rANS is a stack: symbols go in from last to first, and the bytes that they push come off again from the end. One step
 * takes a lane's state x, for an entry of frequency f and cumulative c (Duda, arXiv 1311.2540):
 *
 *     while x >= f * 2^15: push x mod 2^8, x := floor(x / 2^8)
 *     x := floor(x / f) * 2^16 + c + x mod f
 */
export function encodePlain(
  symbols: Int16Array | Int32Array,
  indexes: Indexes,
  tables: RansTables,
  lanes?: Lanes,
): Uint8Array<ArrayBuffer> {
  checkIndexes(indexes, tables);
  if (indexes instanceof Uint16Array) {
    const encoder = new Encoder(lanes ?? lanesFor(costOf(symbols, indexes, tables)), symbols.length, tables);
    for (let i = symbols.length - 1; i >= 0; i--) encoder.symbol(i, symbols[i]!, tables.row(indexes[i]!));
    return encoder.finish();
  }
  const { length } = indexes;
  const rows = Array.from(indexes.tables, (table) => tables.row(table));
  const likely = rows.map(({ likelySymbol }, r) => countOf(symbols, r * length, length, likelySymbol));
  const cost = rows.reduce((sum, row, r) => sum + runCost(row, likely[r]!, length), 0);
  const encoder = new Encoder(lanes ?? lanesFor(cost), symbols.length, tables);
  for (let r = rows.length - 1; r >= 0; r--) {
    const row = rows[r]!;
    const chance = flagFrequency(row.likely & 0xffff, length);
    const set = chance > 0 && likely[r] === length;
    for (let j = set ? -1 : length - 1; j >= 0; j--) encoder.symbol(j, symbols[r * length + j]!, row);
    if (chance > 0) encoder.flag(set, chance);
  }
  return encoder.finish();
}

/** What `runCost` makes of symbols that have a table each. */
function costOf(symbols: Int16Array | Int32Array, indexes: Uint16Array, tables: RansTables): number {
  let cost = 0;
  for (let i = 0; i < indexes.length; i++) {
    const row = tables.row(indexes[i]!);
    cost += runCost(row, symbols[i] === row.likelySymbol ? 1 : 0, 1);
  }
  return cost;
}

/** How many of symbols[start] to symbols[start + length - 1] are `symbol`. */
function countOf(symbols: Int16Array | Int32Array, start: number, length: number, symbol: number): number {
  let count = 0;
  for (let i = start; i < start + length; i++) if (symbols[i] === symbol) count++;
  return count;
}

class Encoder {
  private readonly states: Int32Array;
  private readonly mask: number;
  private readonly stack: Stack;
  private readonly words: Uint32Array;

  constructor(lanes: Lanes, symbols: number, { words }: RansTables) {
    this.states = new Int32Array(lanes).fill(LOWEST_STATE);
    this.mask = lanes - 1;
    this.stack = new Stack(16 + (symbols >> 1));
    this.words = words;
  }

  /** Symbol j of its run, or of all where each has its own table. */
  symbol(j: number, symbol: number, { entries, offset, escape }: Row): void {
    const lane = j & this.mask;
    let k = symbol - offset;
    if (k < 0 || k >= escape) {
      k = escape;
      this.escaped(lane, zigzag(symbol));
    }
    const entry = entries + k * ENTRY_WORDS;
    this.step(lane, this.words[entry + 2]! >>> 16, this.words[entry + 3]! >>> 16);
  }

  flag(set: boolean, chance: number): void {
    if (set) this.step(0, 0, chance);
    else this.step(0, chance, 65536 - chance);
  }

  /** The states, the first lane's last: that is where a decoder begins. */
  finish(): Uint8Array<ArrayBuffer> {
    for (let lane = this.mask; lane >= 0; lane--) {
      const x = this.states[lane]! | (lane < this.mask ? MORE_LANES : 0);
      for (let bits = 0; bits < 32; bits += 8) this.stack.push(x >>> bits);
    }
    return this.stack.finish();
  }

  private step(lane: number, cumulative: number, frequency: number): void {
    const x = this.below(lane, frequency << LIMIT_SHIFT);
    const quotient = (x / frequency) | 0;
    this.states[lane] = (quotient << PROBABILITY_BITS) + cumulative + (x - quotient * frequency);
  }

  /** The step for probabilities of 4 bits, f = 1 and c = digit: the digits from last to first, then their count. */
  private escaped(lane: number, value: number): void {
    const count = digitCount(value);
    for (let d = 0; d <= count; d++) {
      const digit = d === count ? count : (value >>> (DIGIT_BITS * d)) & 15;
      this.states[lane] = (this.below(lane, 1 << (31 - DIGIT_BITS)) << DIGIT_BITS) | digit;
    }
  }

  /** The lane's state, brought below `limit`. */
  private below(lane: number, limit: number): number {
    let x = this.states[lane]!;
    for (; x >= limit; x >>>= 8) this.stack.push(x);
    return x;
  }
}
