/*
 * An escaped symbol is its table's last entry, then its distance from the table in hexadecimal digits: how many there
 * are, then the digits, least significant first and never a leading zero. Each is coded with probability 1/16. With k =
 * symbol - offset, a symbol below the table (k < 0) is the odd number -2 k - 1, one above (k >= last) the even number
 * 2 (k - last).
 *
 * CompressAI writes a number of digits of 15 and more as 15s and a rest. But |k| < 2^32, so nine digits are the most,
 * a first digit above nine is already no stream of an encoder, and nothing here can go on for long.
 */

/** Most digits of an escape, which is less than 2^33. */
export const MAX_DIGITS = 9;

const TWO_32 = 2 ** 32;

/** Digits of an escape without leading zeros: 0 has none. */
export function digitCount(escape: number): number {
  return escape >= TWO_32 ? MAX_DIGITS : (35 - Math.clz32(escape)) >>> 2;
}

/** Digit `place` of an escape, 0 the least significant. */
export function digitAt(escape: number, place: number): number {
  return place === MAX_DIGITS - 1 ? Math.floor(escape / TWO_32) : (escape >>> (4 * place)) & 15;
}
