/** One code per way that input to the coder can be wrong. */
export type RansErrorCode =
  | 'invalid-table' // a distribution breaks a rule of `RansTables`
  | 'length-mismatch' // symbols, indexes and out do not have one length
  | 'index-out-of-range' // an index names a table that the pool does not have
  | 'truncated' // the bytes end before the last symbol
  | 'initial-state' // the first four bytes are no state that an encoder can end in
  | 'escape-length' // an escape of more than eight digits
  | 'escape-not-shortest' // an escape with a leading zero digit, or of a symbol that its table has
  | 'symbol-range' // an escaped symbol does not fit the array it is decoded into
  | 'trailing-bytes' // bytes are left after the last symbol
  | 'final-state'; // the state after the last symbol is not the encoder's first: not this data, or not these tables

/** The only error that this package throws for bad input. */
export class RansError extends Error {
  readonly code: RansErrorCode;

  constructor(code: RansErrorCode, message: string) {
    super(message);
    this.name = 'RansError';
    this.code = code;
  }
}
