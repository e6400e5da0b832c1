import { RansError } from './errors.ts';
import type { Indexes } from './indexes.ts';
import { decodePlain } from './plain/decode.ts';
import { encodePlain } from './plain/encode.ts';
import type { Lanes } from './state.ts';
import type { RansTables } from './tables.ts';
import { openWasm } from './wasm/engine.ts';

/** WebAssembly with SIMD, or plain TypeScript. */
export type EngineName = 'wasm' | 'plain';

/** What both engines do, to the same bytes and with the same errors. Lengths are checked before. */
export interface Engine {
  encode(
    symbols: Int16Array | Int32Array,
    indexes: Indexes,
    tables: RansTables,
    lanes: Lanes | undefined,
  ): Uint8Array<ArrayBuffer>;
  decode(bytes: Uint8Array, indexes: Indexes, tables: RansTables, out: Int16Array | Int32Array): void;
}

const plain: Engine = { encode: encodePlain, decode: decodePlain };

// undefined: not tried yet, as loading this package should cost nothing; null: does not run here
let wasm: Engine | null | undefined;

/** The engine of that name, by default the fastest that runs here. Throws `RansError` 'engine-unavailable'. */
export function chooseEngine(name?: EngineName): Engine {
  if (name === 'plain') return plain;
  if (wasm === undefined) wasm = openWasm(plain);
  if (wasm !== null) return wasm;
  if (name === undefined) return plain;
  throw new RansError(
    'engine-unavailable',
    `engine '${name}' does not run here; leave the option out to use 'plain'`,
  );
}

/** The engines that run here, the fastest first. */
export function engines(): EngineName[] {
  try {
    chooseEngine('wasm');
    return ['wasm', 'plain'];
  } catch {
    return ['plain'];
  }
}
