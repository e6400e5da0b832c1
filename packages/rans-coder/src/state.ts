/** The state before the first and after the last step, and the smallest there is: states are in [2^16, 2^32). */
export const INITIAL_STATE: number = 1 << 16;

/** Bytes of the state at the start of a stream. */
export const STATE_BYTES = 4;
