import { chooseEngine } from './engine.ts';
import type { EngineName } from './engine.ts';
import { RansError } from './errors.ts';
import { symbolCount } from './indexes.ts';
import type { Indexes } from './indexes.ts';
import { LEAST_FOR_FOUR, lanesOf } from './lanes.ts';
import type { Lanes } from './state.ts';
import type { RansTables } from './tables.ts';

export interface EncodeOptions {
  /** Interleaved states: default 1 below about 1 kB of output, 2 below 2 kB, else 4; at most 1 %. */
  readonly lanes?: Lanes;
  /** Default: the fastest that runs here. The bytes are the same. */
  readonly engine?: EngineName;
}

/**
 * Codes symbol i with the distribution that `indexes` names for it. No symbols give the 4 bytes of the first state.
 * The bytes depend on nothing but symbols, indexes (an array of them and runs are two codes), tables and lanes.
 *
 * Throws `RansError` 'length-mismatch', 'index-out-of-range', 'lane-count' or 'engine-unavailable'.
 */
export function encode(
  symbols: Int16Array | Int32Array,
  indexes: Indexes,
  tables: RansTables,
  options: EncodeOptions = {},
): Uint8Array<ArrayBuffer> {
  const count = symbolCount(indexes);
  if (symbols.length !== count) {
    throw new RansError('length-mismatch', `${symbols.length} symbols but indexes for ${count}`);
  }
  if (options.lanes !== undefined && ![1, 2, 4].includes(options.lanes)) {
    throw new RansError('lane-count', `${options.lanes} lanes; there are 1, 2 or 4`);
  }
  const engine = chooseEngine(options.engine);
  const bytes = engine.encode(symbols, indexes, tables, options.lanes);
  const tooMany = options.lanes === undefined && bytes.length < LEAST_FOR_FOUR && lanesOf(bytes) === 4;
  return tooMany ? engine.encode(symbols, indexes, tables, 2) : bytes;
}
