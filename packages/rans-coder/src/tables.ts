import { PROBABILITY_BITS, TOTAL, checkDistribution } from './distribution.ts';
import type { Distribution } from './distribution.ts';
import { DIGIT_BITS, digitCount, zigzag } from './escape.ts';
import { RansError } from './errors.ts';

/*
 * The layout that both engines code from, in words of 4 bytes; assembly/coder.ts has the same numbers.
 *
 *     word 0        tables in the pool
 *     HEAD          one row for each table, ROW_WORDS words
 *     row.entries   one entry for each symbol and the escape, ENTRY_WORDS words
 *     row.lookup    one pair of words for each bucket of slots
 */
const HEAD = 4;
const ROW_WORDS = 8;

/**
 * Words of an entry: the reciprocal, the limit that a state must stay below (frequency << 15), cumulative << 16 | shift of
 * the reciprocal, frequency << 16 | 65536 - frequency.
 */
export const ENTRY_WORDS = 4;

/** Fraction bits of a cost. */
export const COST_BITS = 10;

/** What an escape is taken to add to its entry: the number of digits, and two of them. */
const ESCAPE_COST: number = (3 * DIGIT_BITS) << COST_BITS;

/** The decoder's lookup has 2^4 to 2^10 buckets: enough that few slots lie in a bucket of more than one symbol. */
const LEAST_BUCKET_BITS = 4;
const MOST_BUCKET_BITS = 10;
const SHARED_BUCKETS = 1 / 64;

/** A state below this times the frequency is below 2^31 after the step. */
const LIMIT_SHIFT: number = 31 - PROBABILITY_BITS;

/** Most tables of a pool: an index is uint16. */
const MAX_TABLES = 1 << 16;

/** Most bytes of a pool's layout; a few bytes of serialised tables can ask for much more. */
const MAX_BYTES: number = 64 << 20;

/** Where a table's parts are in `words`, and what a run needs to know of it. */
export interface Row {
  /** Index of the first bucket's pair: cumulative << 16 | frequency and the symbol; or k << 16, where entries decide. */
  readonly lookup: number;
  /** A slot's bucket is slot >>> shift. */
  readonly shift: number;
  /** Index of the first entry. */
  readonly entries: number;
  /** Smallest symbol. */
  readonly offset: number;
  /** Number of symbols, and the place of the escape behind them. */
  readonly escape: number;
  /** cumulative << 16 | frequency of the likeliest symbol (the escape apart; the first of equals). */
  readonly likely: number;
  readonly likelySymbol: number;
  /** Mean cost of the other entries << 16 | cost of the likeliest symbol, in bits of 2^-COST_BITS. */
  readonly costs: number;
}

/**
 * A pool of distributions, checked and laid out for coding. Immutable; share one between any number of coders, and
 * between threads: `RansTables.over(tables.buffer)` on the other side costs nothing, where there is a
 * `SharedArrayBuffer`, and a copy where there is none.
 */
export class RansTables {
  /** Distributions in the pool. */
  readonly count: number;
  /** Everything, to be posted to another thread. */
  readonly buffer: ArrayBufferLike;
  /** The layout above. */
  readonly words: Uint32Array;

  private constructor(buffer: ArrayBufferLike) {
    this.buffer = buffer;
    this.words = new Uint32Array(buffer);
    this.count = this.words[0]!;
  }

  /** Throws `RansError` 'invalid-table' for a distribution that breaks a rule, naming it. */
  static fromFrequencies(distributions: readonly Distribution[]): RansTables {
    if (distributions.length > MAX_TABLES) {
      throw new RansError(
        'invalid-table',
        `${distributions.length} tables; an index has room for ${MAX_TABLES}`,
      );
    }
    for (const [table, distribution] of distributions.entries())
      checkDistribution(distribution, `table ${table}`);
    const plans = distributions.map(plan);
    const size = plans.reduce((sum, { entryWords, lookupWords }) => sum + entryWords + lookupWords, 0);
    const bytes = 4 * (HEAD + ROW_WORDS * plans.length + size);
    if (bytes > MAX_BYTES) {
      throw new RansError(
        'invalid-table',
        `a pool of ${bytes} bytes; at most ${MAX_BYTES}: use fewer tables`,
      );
    }
    const words = new Uint32Array(allocate(bytes));
    words[0] = plans.length;
    let at = HEAD + ROW_WORDS * plans.length;
    for (const [
      table,
      { distribution, cumulative, bucketBits, entryWords, lookupWords },
    ] of plans.entries()) {
      const escape = distribution.frequencies.length - 1;
      const likely = likeliest(distribution.frequencies);
      const row = {
        entries: at,
        lookup: at + entryWords,
        shift: PROBABILITY_BITS - bucketBits,
        offset: distribution.offset,
        escape,
        likely: pack(cumulative, likely),
        likelySymbol: distribution.offset + likely,
        costs: costs(distribution.frequencies, likely),
      };
      words.set(
        [row.lookup, row.shift, row.entries, row.offset, row.escape, row.likely, row.likelySymbol, row.costs],
        HEAD + ROW_WORDS * table,
      );
      writeEntries(words, row, cumulative);
      writeLookup(words, row, cumulative);
      at += entryWords + lookupWords;
    }
    return new RansTables(words.buffer);
  }

  /** The pool whose `buffer` came from another thread of this program. For bytes from elsewhere: `parseTables`. */
  static over(buffer: ArrayBufferLike): RansTables {
    return new RansTables(buffer);
  }

  row(table: number): Row {
    const { words } = this;
    const at = HEAD + ROW_WORDS * table;
    return {
      lookup: words[at]!,
      shift: words[at + 1]!,
      entries: words[at + 2]!,
      offset: words[at + 3]! | 0,
      escape: words[at + 4]!,
      likely: words[at + 5]!,
      likelySymbol: words[at + 6]! | 0,
      costs: words[at + 7]!,
    };
  }

  /** The distribution that table was made from. */
  distribution(table: number): { offset: number; frequencies: Uint16Array } {
    const { entries, offset, escape } = this.row(table);
    const frequency = (_: unknown, k: number): number => this.words[entries + k * ENTRY_WORDS + 3]! >>> 16;
    return { offset, frequencies: Uint16Array.from({ length: escape + 1 }, frequency) };
  }

  /** Information of coding `symbol` with distribution `table`, in bits, an escape's digits included. */
  bits(table: number, symbol: number): number {
    const { entries, offset, escape } = this.row(table);
    const k = symbol - offset;
    const escaped = k < 0 || k >= escape;
    const frequency = this.words[entries + (escaped ? escape : k) * ENTRY_WORDS + 3]! >>> 16;
    const digits = escaped ? 1 + digitCount(zigzag(symbol)) : 0;
    return PROBABILITY_BITS - Math.log2(frequency) + DIGIT_BITS * digits;
  }
}

interface Plan {
  readonly distribution: Distribution;
  /** (K + 1) sums of the frequencies before each entry, and 65536. */
  readonly cumulative: Uint32Array;
  readonly bucketBits: number;
  readonly entryWords: number;
  readonly lookupWords: number;
}

function plan(distribution: Distribution): Plan {
  const { frequencies } = distribution;
  const cumulative = new Uint32Array(frequencies.length + 1);
  for (let k = 0; k < frequencies.length; k++) cumulative[k + 1] = cumulative[k]! + frequencies[k]!;
  // Coarser buckets are shared by fewer entries or as many, so this share is never more than allowed.
  const wanted = Math.ceil(Math.log2(sharedBuckets(cumulative) / SHARED_BUCKETS));
  const bucketBits = Math.min(MOST_BUCKET_BITS, Math.max(LEAST_BUCKET_BITS, wanted));
  return {
    distribution,
    cumulative,
    bucketBits,
    entryWords: ENTRY_WORDS * frequencies.length,
    lookupWords: 2 << bucketBits,
  };
}

/** Buckets, of the most that there can be, that hold slots of two entries or more. */
function sharedBuckets(cumulative: Uint32Array): number {
  const shift = PROBABILITY_BITS - MOST_BUCKET_BITS;
  let last = -1;
  let shared = 0;
  for (let k = 1; k + 1 < cumulative.length; k++) {
    const bucket = cumulative[k]! >>> shift;
    if (bucket === last || (cumulative[k]! & ((1 << shift) - 1)) === 0) continue;
    shared++;
    last = bucket;
  }
  return shared;
}

function likeliest(frequencies: ArrayLike<number>): number {
  let best = 0;
  for (let k = 1; k < frequencies.length - 1; k++) if (frequencies[k]! > frequencies[best]!) best = k;
  return best;
}

/** cumulative << 16 | frequency of entry k. */
function pack(cumulative: Uint32Array, k: number): number {
  return ((cumulative[k]! << 16) | (cumulative[k + 1]! - cumulative[k]!)) >>> 0;
}

/**
 * Division by a frequency f as a product (Alverson 1991): with s = ceil(log2 f) and r = ceil(2^(31 + s) / f),
 * floor(x * r / 2^(31 + s)) is floor(x / f) for every x < 2^31, since r * f exceeds 2^(31 + s) by less than f <= 2^s.
 */
function writeEntries(words: Uint32Array, { entries }: Row, cumulative: Uint32Array): void {
  for (let k = 0; k + 1 < cumulative.length; k++) {
    const frequency = cumulative[k + 1]! - cumulative[k]!;
    const shift = 31 + (32 - Math.clz32(frequency - 1));
    const at = entries + k * ENTRY_WORDS;
    words[at] = Math.ceil(2 ** shift / frequency);
    words[at + 1] = frequency << LIMIT_SHIFT;
    words[at + 2] = (cumulative[k]! << 16) | shift;
    words[at + 3] = (frequency << 16) | (TOTAL - frequency);
  }
}

/** `Row.costs` of a table. */
function costs(frequencies: ArrayLike<number>, likely: number): number {
  const cost = (k: number): number => (PROBABILITY_BITS << COST_BITS) - fixedLog2(frequencies[k]!);
  const escape = frequencies.length - 1;
  let others = frequencies[escape]! * (cost(escape) + ESCAPE_COST);
  for (let k = 0; k < escape; k++) if (k !== likely) others += frequencies[k]! * cost(k);
  return ((Math.floor(others / (TOTAL - frequencies[likely]!)) << 16) | cost(likely)) >>> 0;
}

/** log2 of an integer in [1, 2^16), rounded down to COST_BITS fraction bits: one squaring for each. */
function fixedLog2(value: number): number {
  const whole = 31 - Math.clz32(value);
  let log = whole;
  let mantissa = value << (15 - whole); // in [2^15, 2^16)
  for (let bit = 0; bit < COST_BITS; bit++) {
    mantissa = (mantissa * mantissa) >>> 15;
    const carry = mantissa >>> 16;
    mantissa >>>= carry;
    log = (log << 1) | carry;
  }
  return log;
}

/** Entry after entry: the buckets that it has alone, and the one that its end shares with the next. */
function writeLookup(
  words: Uint32Array,
  { lookup, shift, offset, escape }: Row,
  cumulative: Uint32Array,
): void {
  let bucket = 0; // the first that is not written
  for (let k = 0; k < escape; k++) {
    const alone = (cumulative[k + 1]! >>> shift) - bucket;
    if (alone > 0) {
      fillPairs(words, lookup + 2 * bucket, alone, pack(cumulative, k), offset + k);
      bucket += alone;
    }
    if (bucket << shift < cumulative[k + 1]!) fillPairs(words, lookup + 2 * bucket++, 1, k << 16, 0);
  }
  const left = (1 << (PROBABILITY_BITS - shift)) - bucket; // the escape has none alone
  if (left > 0) fillPairs(words, lookup + 2 * bucket, left, escape << 16, 0);
}

/** `count` times the same two words, doubling what is there: the engine's own copy is faster than a cold loop. */
function fillPairs(words: Uint32Array, at: number, count: number, first: number, second: number): void {
  words[at] = first;
  words[at + 1] = second;
  for (let done = 1; done < count; done *= 2) {
    words.copyWithin(at + 2 * done, at, at + 2 * Math.min(done, count - done));
  }
}

function allocate(bytes: number): ArrayBufferLike {
  return typeof SharedArrayBuffer === 'function' ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
}
