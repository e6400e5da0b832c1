import { chooseEngine } from './engine.ts';
import type { EngineName } from './engine.ts';
import { RansError } from './errors.ts';
import { symbolCount } from './indexes.ts';
import type { Indexes } from './indexes.ts';
import type { RansTables } from './tables.ts';

export interface DecodeOptions<T extends Int16Array | Int32Array> {
  /** Where the symbols go; default a new `Int32Array`. */
  readonly out?: T;
  /** Default: the fastest that runs here. What comes out is the same, errors too. */
  readonly engine?: EngineName;
}

/**
 * Decodes the symbols that `indexes` are for.
 *
 * Made for hostile input: it reads nothing outside `bytes`, and accepts exactly the streams that `encode` makes with one
 * of its lane counts, so encoding what was decoded gives `bytes` again. Throws `RansError` for anything else; `out` then
 * holds anything. The work is bounded by the number of symbols, which is the caller's to limit.
 */
export function decode(
  bytes: Uint8Array,
  indexes: Indexes,
  tables: RansTables,
  options?: DecodeOptions<never>,
): Int32Array<ArrayBuffer>;
export function decode<T extends Int16Array | Int32Array>(
  bytes: Uint8Array,
  indexes: Indexes,
  tables: RansTables,
  options: DecodeOptions<T> & { readonly out: T },
): T;
export function decode(
  bytes: Uint8Array,
  indexes: Indexes,
  tables: RansTables,
  options: DecodeOptions<Int16Array | Int32Array> = {},
): Int16Array | Int32Array {
  const count = symbolCount(indexes);
  const out = options.out ?? new Int32Array(count);
  if (out.length !== count) {
    throw new RansError('length-mismatch', `room for ${out.length} symbols but indexes for ${count}`);
  }
  chooseEngine(options.engine).decode(bytes, indexes, tables, out);
  return out;
}
