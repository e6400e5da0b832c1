import { compress, decompress, init } from '@bokuweb/zstd-wasm';

export const RAW_TYPES = ['float32', 'int8'] as const;

/** int8: the least value and the step as float32, then one byte a value. */
export type RawType = (typeof RAW_TYPES)[number];

/** zstd's. Its default is 3; more gains next to nothing on features. */
export const ZSTD_LEVELS: Readonly<{ usual: number; most: number }> = { usual: 3, most: 22 };

let ready: Promise<void> | undefined;

/** Loads the compressor: WebAssembly, as Node 20 has none of its own. Once: it does not stand being loaded again. */
export function openZstd(): Promise<void> {
  ready ??= init();
  return ready;
}

/** Features or a latent as they are, by zstd. After `openZstd`. */
export function packFloats(
  values: Float32Array,
  type: RawType,
  level: number = ZSTD_LEVELS.usual,
): Uint8Array {
  return compress(type === 'float32' ? bytesOf(values) : quantised(values), level);
}

/** What `packFloats` was given; as int8, to half a step. */
export function unpackFloats(payload: Uint8Array, type: RawType): Float32Array {
  const bytes = decompress(payload);
  if (type === 'float32') return floatsOf(bytes);
  const [least, step] = floatsOf(bytes.subarray(0, RANGE_BYTES));
  return Float32Array.from(bytes.subarray(RANGE_BYTES), (level) => least! + level * step!);
}

const RANGE_BYTES = 8; // least value, step

function quantised(values: Float32Array): Uint8Array {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  const step = Math.fround((most - least) / 255) || 1; // all of them the same
  const bytes = new Uint8Array(RANGE_BYTES + values.length);
  bytes.set(bytesOf(Float32Array.of(least, step)));
  for (let i = 0; i < values.length; i++) bytes[RANGE_BYTES + i] = Math.round((values[i]! - least) / step);
  return bytes;
}

// little-endian, as every machine that runs Node

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}
