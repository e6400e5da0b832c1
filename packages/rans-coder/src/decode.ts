import { RansError } from './errors.ts';
import { MAX_DIGITS, digitCount, unzigzag } from './escape.ts';
import { INITIAL_STATE, STATE_BYTES } from './state.ts';
import { BUCKET_BITS } from './tables.ts';
import type { RansTables } from './tables.ts';

/**
 * Decodes `indexes.length` symbols, symbol i with distribution `indexes[i]`, into `out` (a new `Int32Array` if left
 * out). The step is the encoder's backwards:
 *
 *     slot := x mod 2^16; the entry (c, f) is the one with c <= slot < c + f
 *     x := f * floor(x / 2^16) + slot - c
 *     if x < 2^16: x := x * 2^16 + next word                             once is enough, as x >= f >= 1
 *
 * Made for hostile input: it reads nothing past the end, and accepts exactly the streams that `encode` makes, so
 * `encode(decode(bytes))` is `bytes`. Throws `RansError` for anything else; `out` then holds what came before.
 */
export function decode(bytes: Uint8Array, indexes: Uint16Array, tables: RansTables): Int32Array<ArrayBuffer>;
export function decode<T extends Int16Array | Int32Array>(
  bytes: Uint8Array,
  indexes: Uint16Array,
  tables: RansTables,
  out: T,
): T;
export function decode(
  bytes: Uint8Array,
  indexes: Uint16Array,
  tables: RansTables,
  out: Int16Array | Int32Array = new Int32Array(indexes.length),
): Int16Array | Int32Array {
  if (out.length !== indexes.length) {
    throw new RansError('length-mismatch', `room for ${out.length} symbols but ${indexes.length} indexes`);
  }
  if (bytes.length < STATE_BYTES) throw truncated(bytes, 0);
  const { count, offsets, escapes, firsts, entries, buckets } = tables;
  let x = (bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24)) >>> 0;
  if (x < INITIAL_STATE)
    throw new RansError('initial-state', `the stream starts with state ${x}, below 65536`);
  let next = STATE_BYTES;

  for (let i = 0; i < indexes.length; i++) {
    const table = indexes[i]!;
    if (table >= count) {
      throw new RansError(
        'index-out-of-range',
        `index ${table} at symbol ${i}, but there are ${count} tables`,
      );
    }
    const slot = x & 0xffff;
    const first = firsts[table]!;
    let at = first + buckets[(table << BUCKET_BITS) | (slot >>> BUCKET_BITS)]!;
    let entry = entries[at]!;
    while (slot - (entry >>> 16) >= (entry & 0xffff)) entry = entries[++at]!;

    x = (Math.imul(entry & 0xffff, x >>> 16) + slot - (entry >>> 16)) >>> 0;
    if (x < INITIAL_STATE) {
      if (next + 2 > bytes.length) throw truncated(bytes, i);
      x = ((x << 16) | bytes[next]! | (bytes[next + 1]! << 8)) >>> 0;
      next += 2;
    }

    const k = at - first;
    if (k < escapes[table]!) {
      out[i] = offsets[table]! + k;
      continue;
    }
    // The step for probabilities of 4 bits, f = 1 and c = digit: first the number of digits, then the digits.
    let digits = 0;
    let value = 0;
    for (let d = 0; d <= digits; d++) {
      const digit = x & 15;
      x >>>= 4;
      if (x < INITIAL_STATE) {
        if (next + 2 > bytes.length) throw truncated(bytes, i);
        x = ((x << 16) | bytes[next]! | (bytes[next + 1]! << 8)) >>> 0;
        next += 2;
      }
      if (d > 0) value = ((value << 4) | digit) >>> 0;
      else if (digit > MAX_DIGITS)
        throw new RansError('escape-length', `symbol ${i} escapes with ${digit} digits`);
      else digits = digit;
    }
    const symbol = unzigzag(value);
    const inTable = symbol >= offsets[table]! && symbol - offsets[table]! < escapes[table]!;
    if (digitCount(value) !== digits || inTable) {
      throw new RansError(
        'escape-not-shortest',
        `symbol ${i} (${symbol}) has a shorter code than the one used`,
      );
    }
    out[i] = symbol;
    if (out[i] !== symbol) throw new RansError('symbol-range', `symbol ${i} is ${symbol}, beyond int16`);
  }

  if (next !== bytes.length) {
    throw new RansError('trailing-bytes', `${bytes.length - next} bytes are left after the last symbol`);
  }
  if (x !== INITIAL_STATE) {
    throw new RansError(
      'final-state',
      `the stream ends in state ${x}; it is damaged or was made with other tables`,
    );
  }
  return out;
}

function truncated(bytes: Uint8Array, symbol: number): RansError {
  return new RansError('truncated', `the stream ends in symbol ${symbol}, after ${bytes.length} bytes`);
}
