import { DIGIT_BITS, digitCount, zigzag } from './escape.ts';
import { RansError } from './errors.ts';

/** Bits of a probability; the frequencies of a distribution sum to 2^16. */
export const PROBABILITY_BITS = 16;
const TOTAL = 1 << PROBABILITY_BITS;

/** The decoder jumps to a slot's bucket (its top 8 bits) and walks from the bucket's first entry. */
export const BUCKET_BITS = 8;
const BUCKETS = 1 << BUCKET_BITS;

/** One distribution: `frequencies[k]` belongs to symbol `offset + k`, the last one to the escape. */
export interface Distribution {
  readonly offset: number;
  readonly frequencies: ArrayLike<number>;
}

/**
 * A pool of distributions, checked and laid out for coding. Immutable; share one between any number of coders.
 *
 * The rules, each enforced here so that the coder need not think of them: symbols are int16; there is at least one
 * symbol besides the escape; every frequency is at least 1, so everything can be coded; the sum is exactly 65536, so
 * no frequency takes all of it and every one fits 16 bits.
 */
export class RansTables {
  /** Distributions in the pool. */
  readonly count: number;
  /** (count) smallest symbol. */
  readonly offsets: Int32Array;
  /** (count) position of the escape in its distribution = number of symbols. */
  readonly escapes: Int32Array;
  /** (count) position of the first entry in `entries`. */
  readonly firsts: Int32Array;
  /** All distributions one after the other: cumulative << 16 | frequency. */
  readonly entries: Uint32Array;
  /** (count, 256) position in its distribution of the entry that holds slot bucket << 8. */
  readonly buckets: Uint16Array;

  private constructor(distributions: readonly Distribution[], size: number) {
    this.count = distributions.length;
    this.offsets = new Int32Array(this.count);
    this.escapes = new Int32Array(this.count);
    this.firsts = new Int32Array(this.count);
    this.entries = new Uint32Array(size);
    this.buckets = new Uint16Array(this.count * BUCKETS);

    let first = 0;
    for (const [table, { offset, frequencies }] of distributions.entries()) {
      this.offsets[table] = offset;
      this.escapes[table] = frequencies.length - 1;
      this.firsts[table] = first;
      let cumulative = 0;
      let bucket = 0;
      for (let k = 0; k < frequencies.length; k++) {
        const frequency = frequencies[k]!;
        this.entries[first + k] = (cumulative << PROBABILITY_BITS) | frequency;
        cumulative += frequency;
        for (; bucket << BUCKET_BITS < cumulative; bucket++) this.buckets[table * BUCKETS + bucket] = k;
      }
      first += frequencies.length;
    }
  }

  /** Throws `RansError` 'invalid-table' for a distribution that breaks a rule, naming it. */
  static fromFrequencies(distributions: readonly Distribution[]): RansTables {
    if (distributions.length > 1 << 16) {
      throw new RansError('invalid-table', `${distributions.length} tables; an index has room for 65536`);
    }
    let size = 0;
    for (const [table, distribution] of distributions.entries()) {
      check(table, distribution);
      size += distribution.frequencies.length;
    }
    return new RansTables(distributions, size);
  }

  /** The frequencies that distribution `table` was made from. */
  frequencies(table: number): Uint16Array {
    const first = this.firsts[table]!;
    return Uint16Array.from(this.entries.subarray(first, first + this.escapes[table]! + 1));
  }

  /** Information of coding `symbol` with distribution `table`, in bits, an escape's digits included. */
  bits(table: number, symbol: number): number {
    const k = symbol - this.offsets[table]!;
    const escape = this.escapes[table]!;
    const escaped = k < 0 || k >= escape;
    const frequency = this.entries[this.firsts[table]! + (escaped ? escape : k)]! & (TOTAL - 1);
    const digits = escaped ? 1 + digitCount(zigzag(symbol)) : 0;
    return PROBABILITY_BITS - Math.log2(frequency) + DIGIT_BITS * digits;
  }
}

function check(table: number, { offset, frequencies }: Distribution): void {
  const symbols = frequencies.length - 1;
  if (symbols < 1)
    throw invalid(table, `has ${frequencies.length} entries; it needs a symbol and the escape`);
  if (!Number.isInteger(offset) || offset < -0x8000 || offset + symbols - 1 > 0x7fff) {
    throw invalid(table, `covers symbols ${offset} to ${offset + symbols - 1}; they must be int16`);
  }
  let sum = 0;
  for (let k = 0; k <= symbols; k++) {
    const frequency = frequencies[k]!;
    if (!Number.isInteger(frequency) || frequency < 1) {
      throw invalid(table, `has frequency ${frequency} at entry ${k}; every one must be an integer >= 1`);
    }
    sum += frequency;
  }
  if (sum !== TOTAL) throw invalid(table, `has frequencies that sum to ${sum}; the sum must be ${TOTAL}`);
}

function invalid(table: number, what: string): RansError {
  return new RansError('invalid-table', `table ${table} ${what}`);
}
