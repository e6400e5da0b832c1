/*
 * An escaped symbol is its table's last entry, then the symbol as a zigzag uint32 in hexadecimal digits: how many
 * (0 to 8), then the digits, most significant first and never a leading zero. Each is coded with probability 1/16.
 */

/** Bits that one digit costs. */
export const DIGIT_BITS = 4;

/** Most digits of a zigzag uint32. */
export const MAX_DIGITS = 8;

/** int32 -> uint32 with small magnitudes first: 0, -1, 1, -2, 2 ... */
export function zigzag(symbol: number): number {
  return ((symbol << 1) ^ (symbol >> 31)) >>> 0;
}

/** uint32 -> int32, the inverse of `zigzag`. */
export function unzigzag(value: number): number {
  return (value >>> 1) ^ -(value & 1);
}

/** Digits of a uint32 without leading zeros: 0 has none, 2^32 - 1 has eight. */
export function digitCount(value: number): number {
  return (35 - Math.clz32(value)) >>> 2;
}
