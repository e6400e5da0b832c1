/** One code per way that input to the coder can be wrong. */
export type RansErrorCode =
  | 'invalid-table' // a distribution breaks a rule of `RansTables`
  | 'tables-format' // the bytes are no serialised tables, or of another version
  | 'tables-checksum' // serialised tables that are damaged
  | 'length-mismatch' // symbols, indexes and out do not have one length
  | 'index-out-of-range' // an index names a table that the pool does not have
  | 'truncated' // the bytes end before the last symbol
  | 'lane-count' // the stream says that it has 3 lanes, or more than 4
  | 'initial-state' // a lane starts with a state that no encoder can end in
  | 'run-not-flagged' // a run of nothing but its likeliest symbol, spelled out
  | 'escape-length' // an escape of more digits than a symbol can have
  | 'escape-not-shortest' // an escape with a leading zero digit, or of a symbol that its table has
  | 'symbol-range' // an escaped symbol does not fit the array it is decoded into
  | 'trailing-bytes' // bytes are left after the last symbol
  | 'final-state' // a state after the last symbol is not the encoder's first: not this data, or not these tables
  | 'engine-unavailable'; // the engine that was asked for does not run here

/** The only error that this package throws for bad input. */
export class RansError extends Error {
  readonly code: RansErrorCode;

  constructor(code: RansErrorCode, message: string) {
    super(message);
    this.name = 'RansError';
    this.code = code;
  }
}
