import { RansError } from '../errors.ts';
import { MAX_DIGITS } from './escape.ts';
import { toInt32 } from './integers.ts';
import { INITIAL_LOW, STATE_BYTES, WORD_BYTES } from './state.ts';
import { tablesOf } from './tables.ts';

/**
 * Decodes `indexes.length` symbols, symbol i with table `indexes[i]`, from what `encodeWithIndexes` or CompressAI's
 * `RansEncoder().encode_with_indexes` made with the same tables (see there). The step is the encoder's backwards:
 *
 *     slot := x mod 2^16; the entry (c, f) is the one with c <= slot < c + f
 *     x := f * floor(x / 2^16) + slot - c
 *     if x < 2^31: x := x * 2^32 + next word                             once is enough, as x >= f * 2^15
 *
 * It is exact on halves of x, in 32-bit integers. With x = high * 2^32 + middle * 2^16 + slot and high = h1 * 2^16 + h0,
 * the new x is f * h1 * 2^32 + f * h0 * 2^16 + t, t = f * middle + slot - c. Each fits: f <= 2^16 and slot - c < f, so
 * t < f * 2^16 <= 2^32, f * h0 < 2^32 and, as h1 < 2^15, f * h1 < 2^31.
 *
 * Made for hostile bytes: it reads nothing past the end, and accepts exactly the streams that `encodeWithIndexes` makes,
 * so encoding what it returns gives the same bytes. Throws `RansError` for anything else: 'truncated', 'initial-state',
 * 'escape-length', 'escape-not-shortest', 'symbol-range', 'trailing-bytes' or 'final-state'; for the other arguments
 * 'length-mismatch', 'invalid-table' or 'index-out-of-range'.
 */
export function decodeWithIndexes(
  bytes: Uint8Array,
  indexes: ArrayLike<number>,
  cdfs: ArrayLike<ArrayLike<number>>,
  cdfSizes: ArrayLike<number>,
  offsets: ArrayLike<number>,
): Int32Array<ArrayBuffer> {
  const tableOf = toInt32(indexes, 'index', 'index-out-of-range');
  const {
    count,
    offsets: smallest,
    lasts,
    firsts,
    entries,
    shifts,
    firstBuckets,
    buckets,
  } = tablesOf(cdfs, cdfSizes, offsets);
  if (bytes.length < STATE_BYTES) throw truncated(bytes, 0);
  const symbols = new Int32Array(tableOf.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = bytes.length - WORD_BYTES; // the last place where a word may start
  let low = view.getInt32(0, true);
  let high = view.getInt32(WORD_BYTES, true);
  if (high < 0 || (high === 0 && low >= 0)) {
    throw new RansError('initial-state', 'the stream starts with a state outside 2^31 to 2^63 - 1');
  }
  let next = STATE_BYTES;

  for (let i = 0; i < tableOf.length; i++) {
    const table = tableOf[i]!;
    if (table >>> 0 >= count) {
      throw new RansError(
        'index-out-of-range',
        `index ${table} at symbol ${i}, but there are ${count} tables`,
      );
    }
    const slot = low & 0xffff;
    const first = firsts[table]!;
    let at = first + buckets[firstBuckets[table]! + (slot >>> shifts[table]!)]!;
    let entry = entries[at]!;
    while (slot - (entry >>> 16) > (entry & 0xffff)) entry = entries[++at]!;

    const frequency = (entry & 0xffff) + 1;
    const t = (Math.imul(frequency, low >>> 16) + slot - (entry >>> 16)) | 0;
    const p = Math.imul(frequency, high & 0xffff);
    const middle = (t >>> 16) + (p & 0xffff);
    low = (middle << 16) | (t & 0xffff);
    high = Math.imul(frequency, high >>> 16) + (p >>> 16) + (middle >>> 16);
    if (high === 0 && low >= 0) {
      if (next > end) throw truncated(bytes, i);
      high = low;
      low = view.getInt32(next, true);
      next += WORD_BYTES;
    }

    const k = at - first;
    const last = lasts[table]!;
    if (k < last) {
      symbols[i] = smallest[table]! + k;
      continue;
    }
    // The step for probabilities of 4 bits, f = 1 and c = digit: first the number of digits, then the digits.
    let digits = 0;
    let digit = 0;
    let escape = 0;
    for (let d = 0; d <= digits; d++) {
      digit = low & 15;
      low = (low >>> 4) | (high << 28);
      high >>>= 4;
      if (high === 0 && low >= 0) {
        if (next > end) throw truncated(bytes, i);
        high = low;
        low = view.getInt32(next, true);
        next += WORD_BYTES;
      }
      if (d > 0) escape += digit * 16 ** (d - 1);
      else if (digit > MAX_DIGITS)
        throw new RansError('escape-length', `symbol ${i} escapes with more than ${MAX_DIGITS} digits`);
      else digits = digit;
    }
    if (digits > 0 && digit === 0) {
      throw new RansError('escape-not-shortest', `symbol ${i} escapes with a leading zero digit`);
    }
    const distance = Math.floor(escape / 2);
    const symbol = smallest[table]! + (escape % 2 === 1 ? -1 - distance : last + distance);
    symbols[i] = symbol;
    if (symbols[i] !== symbol) throw new RansError('symbol-range', `symbol ${i} is ${symbol}, beyond int32`);
  }

  if (next !== bytes.length) {
    throw new RansError(
      'trailing-bytes',
      `${bytes.length - next} bytes are left after the last symbol; is a symbol missing?`,
    );
  }
  if (high !== 0 || low !== INITIAL_LOW) {
    throw new RansError(
      'final-state',
      'the stream does not end in state 2^31; it is damaged or was made with other tables or indexes',
    );
  }
  return symbols;
}

function truncated(bytes: Uint8Array, symbol: number): RansError {
  return new RansError('truncated', `the stream ends in symbol ${symbol}, after ${bytes.length} bytes`);
}
