/** One code per way that input to the codec can be wrong. docs/bitstream.md lists them in the order of checking. */
export type CodecErrorCode =
  // bitstream
  | 'slice-count' // no slices, more than four, or more than the first one says
  | 'too-many-bytes' // the slices together are longer than the limit
  | 'truncated' // a slice is shorter than its header
  | 'version' // a version that this reader does not know
  | 'flags' // a flag that this version does not have
  | 'checksum' // the bytes are not those that were written, or not of the same image
  | 'slice-order' // a slice is not the next one of the first slice's image
  | 'channel-range' // channel ends that do not rise, or do not end at the codec's channels
  | 'shape-range' // a height or width outside 1 to 255
  | 'unknown-codec' // coded with tables that this reader does not have
  | 'point-range' // an operating point that the tables do not have
  | 'too-many-symbols' // channels * h * w is more than the limit
  | 'entropy' // the rANS words are wrong; `cause` is the RansError
  // latent -> symbols -> bitstream
  | 'shape-mismatch' // values and shape do not agree
  | 'symbol-range' // a symbol beyond int16, or not a number
  // tables.bin
  | 'tables-magic' // it does not start with RTAB
  | 'tables-version' // a version that this reader does not know
  | 'tables-header' // no points or channels, or more channels than a header can say
  | 'tables-length' // shorter than its counts say
  | 'tables-too-large' // more than MAX_TABLES_BYTES
  | 'tables-value' // a gain not above 0, a median not finite, or a table that is not there
  | 'tables-distribution' // the pool of distributions is damaged or breaks a rule; `cause` is the RansError
  | 'latent-space-id' // not 32 lower-case hexadecimal characters
  // .rac file
  | 'rac-magic' // it does not start with RAC and a zero byte
  | 'rac-length'; // a slice's length points past the end, or is cut itself

/** The only error that this package throws for bad input. */
export class CodecError extends Error {
  readonly code: CodecErrorCode;

  constructor(code: CodecErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CodecError';
    this.code = code;
  }
}
