/** What a reader accepts, checked before anything is allocated. */
export interface Limits {
  /** Bytes of all slices of an image together. */
  readonly maxBytes: number;
  /** Channels * h * w. */
  readonly maxSymbols: number;
}

/** Room for 25 times the symbols of the reference model (48 x 28 x 28). */
export const DEFAULT_LIMITS: Limits = { maxBytes: 1 << 20, maxSymbols: 1 << 20 };

/** Largest `tables.bin`, bytes: a universal bundle's. 8 x 8 points of 64 channels that share 400 tables take 3 MB in memory. */
export const MAX_TABLES_BYTES = 150_000;

/** Most slices of one image. */
export const MAX_SLICES = 4;

/** Largest height, width and channel count: each is one byte of the header. */
export const MAX_SIDE = 255;
