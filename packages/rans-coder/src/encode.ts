import { RansError } from './errors.ts';
import { MAX_DIGITS, digitCount, zigzag } from './escape.ts';
import { INITIAL_STATE, STATE_BYTES } from './state.ts';
import type { RansTables } from './tables.ts';

/** Most words that one symbol adds: its entry, the digit count and the digits. */
const MAX_WORDS = 2 + MAX_DIGITS;

/**
 * Codes `symbols[i]` with distribution `indexes[i]`.
 *
 * rANS is a stack: the symbols go in from last to first and the words come out backwards, so that the decoder reads
 * both forwards. One step takes the state x, for an entry of frequency f and cumulative c (Duda, arXiv 1311.2540):
 *
 *     while x >= f * 2^16: put out x mod 2^16, x := floor(x / 2^16)      at most once, as x < 2^32 and f >= 1
 *     x := floor(x / f) * 2^16 + c + x mod f
 *
 * Returns the last state (4 bytes) and the words (2 bytes each), little-endian. No symbols give the 4 bytes of the
 * initial state. Throws `RansError` 'length-mismatch' or 'index-out-of-range'.
 */
export function encode(
  symbols: Int16Array | Int32Array,
  indexes: Uint16Array,
  tables: RansTables,
): Uint8Array<ArrayBuffer> {
  if (symbols.length !== indexes.length) {
    throw new RansError('length-mismatch', `${symbols.length} symbols but ${indexes.length} indexes`);
  }
  const { count, offsets, escapes, firsts, entries } = tables;
  let words = new Uint16Array(MAX_WORDS + (symbols.length >> 2));
  let size = 0;
  let x = INITIAL_STATE;

  for (let i = symbols.length - 1; i >= 0; i--) {
    const table = indexes[i]!;
    if (table >= count) {
      throw new RansError(
        'index-out-of-range',
        `index ${table} at symbol ${i}, but there are ${count} tables`,
      );
    }
    if (size + MAX_WORDS > words.length) words = grown(words);

    let k = symbols[i]! - offsets[table]!;
    const escape = escapes[table]!;
    if (k < 0 || k >= escape) {
      k = escape;
      let value = zigzag(symbols[i]!);
      const digits = digitCount(value);
      // The step for probabilities of 4 bits, f = 1 and c = digit: the digits from last to first, then their count.
      for (let d = 0; d <= digits; d++, value >>>= 4) {
        const digit = d === digits ? digits : value & 15;
        if (x >>> 28 !== 0) {
          words[size++] = x;
          x >>>= 16;
        }
        x = ((x << 4) | digit) >>> 0;
      }
    }

    const entry = entries[firsts[table]! + k]!;
    const frequency = entry & 0xffff;
    if (x >>> 16 >= frequency) {
      words[size++] = x;
      x >>>= 16;
    }
    const quotient = (x / frequency) >>> 0;
    x = ((quotient << 16) + (entry >>> 16) + (x - Math.imul(quotient, frequency))) >>> 0;
  }
  return toBytes(x, words, size);
}

function grown(words: Uint16Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const larger = new Uint16Array(2 * words.length);
  larger.set(words);
  return larger;
}

function toBytes(state: number, words: Uint16Array, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(STATE_BYTES + 2 * size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, state, true);
  for (let i = 0; i < size; i++) view.setUint16(STATE_BYTES + 2 * i, words[size - 1 - i]!, true);
  return bytes;
}
