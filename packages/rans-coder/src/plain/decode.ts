import { PROBABILITY_BITS } from '../distribution.ts';
import { RansError } from '../errors.ts';
import { DIGIT_BITS, MAX_DIGITS, digitCount, unzigzag } from '../escape.ts';
import { checkIndexes } from '../indexes.ts';
import type { Indexes } from '../indexes.ts';
import { flagFrequency } from '../run-flag.ts';
import { LOWEST_STATE, MAX_LANES, MORE_LANES, STATE_BYTES } from '../state.ts';
import { ENTRY_WORDS } from '../tables.ts';
import type { RansTables, Row } from '../tables.ts';

/**
 * The decoder in plain TypeScript: the one that is always right, and the one that names what is wrong. `out` has room
 * for every symbol of `indexes`. Throws `RansError`; `out` then holds what came before.
 */
export function decodePlain(
  bytes: Uint8Array,
  indexes: Indexes,
  tables: RansTables,
  out: Int16Array | Int32Array,
): void {
  checkIndexes(indexes, tables);
  const decoder = new Decoder(bytes, tables);
  if (indexes instanceof Uint16Array) {
    for (let i = 0; i < indexes.length; i++) decoder.symbol(i, i, tables.row(indexes[i]!), out);
  } else {
    for (let r = 0; r < indexes.tables.length; r++) {
      decoder.run(r * indexes.length, indexes.length, tables.row(indexes.tables[r]!), out);
    }
  }
  decoder.finish();
}

/**
 * The encoder's steps backwards, from the end of the bytes to their start (docs/rans.md):
 *
 *     slot := x mod 2^16; the entry (c, f) is the one with c <= slot < c + f
 *     x := f * floor(x / 2^16) + slot - c
 *     while x < 2^23: x := x * 2^8 + next byte                           at most twice, as x >= f * 2^7
 *
 * Whatever the bytes are: states stay in [2^23, 2^31), nothing before the first byte is read.
 */
class Decoder {
  private readonly bytes: Uint8Array;
  private readonly words: Uint32Array;
  private readonly states: Int32Array;
  private readonly mask: number;
  /** Bytes that are left. */
  private left: number;

  constructor(bytes: Uint8Array, { words }: RansTables) {
    this.bytes = bytes;
    this.words = words;
    this.left = bytes.length;
    const states: number[] = [];
    for (let more = true; more;) {
      if (states.length === MAX_LANES) throw laneCount(`more than ${MAX_LANES}`);
      const word = this.word();
      more = (word & MORE_LANES) !== 0;
      states.push(word & ~MORE_LANES);
    }
    if (states.length === 3) throw laneCount('3');
    const low = states.find((state) => state < LOWEST_STATE);
    if (low !== undefined) {
      throw new RansError('initial-state', `a lane starts with state ${low}, below ${LOWEST_STATE}`);
    }
    this.states = Int32Array.from(states);
    this.mask = states.length - 1;
  }

  /** `length` symbols of one table to out[start ...]. */
  run(start: number, length: number, row: Row, out: Int16Array | Int32Array): void {
    const chance = flagFrequency(row.likely & 0xffff, length);
    if (chance > 0 && this.flag(start, chance)) {
      out.fill(row.likelySymbol, start, start + length);
      return;
    }
    for (let j = 0; j < length; j++) this.symbol(j, start + j, row, out);
    if (chance === 0) return;
    for (let j = 0; j < length; j++) if (out[start + j] !== row.likelySymbol) return;
    throw new RansError(
      'run-not-flagged',
      `symbols ${start} to ${start + length - 1} are a run without its flag`,
    );
  }

  /** Symbol j of its run to out[i]. */
  symbol(j: number, i: number, row: Row, out: Int16Array | Int32Array): void {
    const lane = j & this.mask;
    const x = this.states[lane]!;
    const slot = x & 0xffff;
    const bucket = row.lookup + 2 * (slot >>> row.shift);
    let frequency = this.words[bucket]! & 0xffff;
    let over = slot - (this.words[bucket]! >>> 16);
    let symbol = this.words[bucket + 1]! | 0;
    let escaped = false;
    if (frequency === 0) {
      let k = this.words[bucket]! >>> 16;
      let entry = row.entries + ENTRY_WORDS * k;
      for (; ; k++, entry += ENTRY_WORDS) {
        frequency = this.words[entry + 3]! >>> 16;
        over = slot - (this.words[entry + 2]! >>> 16);
        if (over < frequency) break;
      }
      escaped = k === row.escape;
      symbol = row.offset + k;
    }
    this.states[lane] = this.above(Math.imul(frequency, x >>> PROBABILITY_BITS) + over, i);
    if (escaped) symbol = this.escaped(lane, i, row);
    out[i] = symbol;
    if (out[i] !== symbol) throw new RansError('symbol-range', `symbol ${i} is ${symbol}, beyond int16`);
  }

  finish(): void {
    if (this.left > 0) {
      throw new RansError('trailing-bytes', `${this.left} bytes are left after the last symbol`);
    }
    const lane = this.states.findIndex((state) => state !== LOWEST_STATE);
    if (lane >= 0) {
      const state = this.states[lane];
      throw new RansError(
        'final-state',
        `lane ${lane} ends in state ${state}; the stream is damaged or was made with other tables`,
      );
    }
  }

  private flag(i: number, chance: number): boolean {
    const x = this.states[0]!;
    const slot = x & 0xffff;
    const set = slot < chance;
    const frequency = set ? chance : 65536 - chance;
    const rest = set ? slot : slot - chance;
    this.states[0] = this.above(Math.imul(frequency, x >>> PROBABILITY_BITS) + rest, i);
    return set;
  }

  /** The step for probabilities of 4 bits, f = 1 and c = digit: first the number of digits, then the digits. */
  private escaped(lane: number, i: number, { offset, escape }: Row): number {
    const count = this.digit(lane, i);
    if (count > MAX_DIGITS) throw new RansError('escape-length', `symbol ${i} escapes with ${count} digits`);
    let value = 0;
    for (let d = 0; d < count; d++) value = ((value << DIGIT_BITS) | this.digit(lane, i)) >>> 0;
    const symbol = unzigzag(value);
    if (digitCount(value) !== count || (symbol >= offset && symbol - offset < escape)) {
      throw new RansError(
        'escape-not-shortest',
        `symbol ${i} (${symbol}) has a shorter code than the one used`,
      );
    }
    return symbol;
  }

  private digit(lane: number, i: number): number {
    const x = this.states[lane]!;
    this.states[lane] = this.above(x >>> DIGIT_BITS, i);
    return x & 15;
  }

  /** The state x, brought back to what states are. */
  private above(x: number, i: number): number {
    while (x < LOWEST_STATE) {
      if (this.left === 0) throw this.truncated(`in symbol ${i}`);
      x = (x << 8) | this.bytes[--this.left]!;
    }
    return x;
  }

  private word(): number {
    if (this.left < STATE_BYTES) throw this.truncated('before its first symbol');
    this.left -= STATE_BYTES;
    const { bytes, left } = this;
    return bytes[left]! | (bytes[left + 1]! << 8) | (bytes[left + 2]! << 16) | (bytes[left + 3]! << 24);
  }

  private truncated(where: string): RansError {
    return new RansError('truncated', `the stream ends ${where}, after ${this.bytes.length} bytes`);
  }
}

function laneCount(count: string): RansError {
  return new RansError('lane-count', `the stream says that it has ${count} lanes; there are 1, 2 or 4`);
}
