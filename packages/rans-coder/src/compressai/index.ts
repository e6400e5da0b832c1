/*
 * CompressAI's entropy coder: its streams in, its streams out. What is compatible with what (CompressAI 1.2.8's
 * `ans.RansEncoder.encode_with_indexes` and `ans.RansDecoder.decode_with_indexes`, observed as PyPI's wheel has them):
 *
 * - Three symbols or more, all within 2^27 of their tables, tables of three counts or more: the same bytes from both
 *   encoders, and both decoders read them. Beyond that its encoder has faults:
 * - It writes before its buffer for no symbol, one symbol, and two of probabilities so small that they need a word of
 *   their own; the process often dies. The bytes are well defined all the same and are written here. Both decode them.
 * - It never returns for an escape of 2^28 or more, i.e. for a symbol below offset - 2^27 or from offset + size - 2 +
 *   2^27 on: it shifts a 32-bit number by 32. Here these have the eight digits that its loop would count if it shifted
 *   right. CompressAI's decoder reads them below 2^31; from there on it shifts a sign in and returns other symbols.
 * - It subtracts in 32 bits, which overflows where symbol and offset are further apart. Here the difference is exact, and
 *   an escape may have a ninth digit: every int32 symbol has a code in every table.
 * - It divides by zero for a table of two entries, 0 and 65536, as it keeps the frequency 65536 in 16 bits. Here such a
 *   table codes every symbol as an escape at no cost of its own, and CompressAI's decoder reads that.
 * - It checks tables in debug builds only, and its decoder never checks a stream. Here a table must pass what those
 *   builds assert (counts from 0, strictly rising, to 65536), and exactly the streams that the encoder makes are accepted.
 */
export { encodeWithIndexes } from './encode.ts';
export { decodeWithIndexes } from './decode.ts';
export { RansError } from '../errors.ts';
export type { RansErrorCode } from '../errors.ts';
