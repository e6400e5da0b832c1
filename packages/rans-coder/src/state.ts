/** The state of a lane before the first and after the last step, and the smallest there is: states are in [2^23, 2^31). */
export const LOWEST_STATE: number = 1 << 23;

/** Bytes of one lane's state at the end of a stream. */
export const STATE_BYTES = 4;

/** Top bit of a state in the stream, which no state has: one more lane follows. */
export const MORE_LANES = 0x8000_0000;

/** Lanes that a stream can have. */
export type Lanes = 1 | 2 | 4;
export const MAX_LANES: Lanes = 4;
