/*
 * The state x is a 63-bit integer, x = high * 2^32 + low: `high` in [0, 2^31), `low` an int32 that holds the lower 32
 * bits. Between two symbols 2^31 <= x < 2^63.
 */

/** `low` of the state before the first and after the last step, 2^31, the smallest there is; its `high` is 0. */
export const INITIAL_LOW: number = 1 << 31;

/** Bytes of the state at the start of a stream, `low` first. */
export const STATE_BYTES = 8;

/** Bytes of a word. */
export const WORD_BYTES = 4;
