import { RansError } from '../errors.ts';
import { MAX_DIGITS, digitAt, digitCount } from './escape.ts';
import { toInt32 } from './integers.ts';
import { INITIAL_LOW, STATE_BYTES, WORD_BYTES } from './state.ts';
import { tablesOf } from './tables.ts';

const TWO_32 = 2 ** 32;

/** Most words that one symbol adds: each step, for the entry, the digit count and the digits, adds at most one. */
const MAX_WORDS = 2 + MAX_DIGITS;

/**
 * Codes `symbols[i]` (int32) with table `indexes[i]` into the bytes that CompressAI's
 * `RansEncoder().encode_with_indexes` makes of the same arguments.
 *
 * Table t is row t of `cdfs`: `cdfSizes[t]` cumulative counts from 0, strictly rising, to 65536; a longer row is padded.
 * Symbol `offsets[t] + k` has counts k to k + 1; the last two counts are the escape's.
 *
 * One step takes the state x, for an entry of frequency f and cumulative count c, last symbol first (Duda, arXiv
 * 1311.2540, with ryg_rans' 64-bit bounds):
 *
 *     if x >= f * 2^47: put out x mod 2^32, x := floor(x / 2^32)
 *     x := floor(x / f) * 2^16 + c + x mod f
 *
 * The division is exact on halves of x. By then x < f * 2^47, so with q1 = floor(high / f) and the remainder r1,
 * q1 < 2^15, n = r1 * 2^32 + low is less than f * 2^32 <= 2^48, and floor(x / f) = q1 * 2^32 + floor(n / f). A floor is
 * that of the double (n + 0.5) * (1 / f): n + 0.5 is exact (50 bits), (n + 0.5) / f is at least 0.5 / f >= 2^-17 away
 * from every integer, and the two roundings, of 1 / f and of the product, move it by 2^32 * 2^-51 = 2^-19 at most.
 *
 * Throws `RansError` 'length-mismatch', 'invalid-table', 'index-out-of-range', or 'symbol-range' for a symbol that is no
 * int32 integer.
 */
export function encodeWithIndexes(
  symbols: ArrayLike<number>,
  indexes: ArrayLike<number>,
  cdfs: ArrayLike<ArrayLike<number>>,
  cdfSizes: ArrayLike<number>,
  offsets: ArrayLike<number>,
): Uint8Array<ArrayBuffer> {
  if (symbols.length !== indexes.length) {
    throw new RansError(
      'length-mismatch',
      `${symbols.length} symbols but ${indexes.length} indexes; give one index per symbol`,
    );
  }
  const values = toInt32(symbols, 'symbol', 'symbol-range');
  const tableOf = toInt32(indexes, 'index', 'index-out-of-range');
  const { count, offsets: smallest, lasts, firsts, entries } = tablesOf(cdfs, cdfSizes, offsets);
  let words = new Int32Array(MAX_WORDS + (values.length >> 3));
  let size = 0;
  let high = 0;
  let low = INITIAL_LOW;

  for (let i = values.length - 1; i >= 0; i--) {
    const table = tableOf[i]!;
    if (table >>> 0 >= count) {
      throw new RansError(
        'index-out-of-range',
        `index ${table} at symbol ${i}, but there are ${count} tables`,
      );
    }
    if (size + MAX_WORDS > words.length) words = grown(words);

    let k = values[i]! - smallest[table]!;
    const last = lasts[table]!;
    if (k < 0 || k >= last) {
      const escape = k < 0 ? -2 * k - 1 : 2 * (k - last);
      k = last;
      const digits = digitCount(escape);
      // The step for probabilities of 4 bits, f = 1 and c = digit: the most significant first, at the end their count.
      for (let d = digits - 1; d >= -1; d--) {
        const digit = d < 0 ? digits : digitAt(escape, d);
        if (high >>> 27 !== 0) {
          words[size++] = low;
          low = high;
          high = 0;
        }
        high = (high << 4) | (low >>> 28);
        low = (low << 4) | digit;
      }
    }

    const entry = entries[firsts[table]! + k]!;
    const frequency = (entry & 0xffff) + 1;
    if (high >>> 15 >= frequency) {
      words[size++] = low;
      low = high;
      high = 0;
    }
    const inverse = 1 / frequency;
    const q1 = ((high + 0.5) * inverse) | 0;
    const r1 = high - Math.imul(q1, frequency);
    const q0 = ((r1 * TWO_32 + (low >>> 0) + 0.5) * inverse) >>> 0;
    const r0 = (low - Math.imul(q0, frequency)) | 0;
    high = (q1 << 16) | (q0 >>> 16);
    low = (q0 << 16) | ((entry >>> 16) + r0);
  }
  return toBytes(high, low, words, size);
}

function grown(words: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * words.length);
  larger.set(words);
  return larger;
}

/** The last state and the words, last first, as a decoder reads them. */
function toBytes(high: number, low: number, words: Int32Array, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(STATE_BYTES + WORD_BYTES * size);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, low, true);
  view.setInt32(WORD_BYTES, high, true);
  for (let at = STATE_BYTES, i = size - 1; i >= 0; i--, at += WORD_BYTES) view.setInt32(at, words[i]!, true);
  return bytes;
}
