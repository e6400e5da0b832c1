import { lanesOf } from '@raccoon/rans-coder';
import { checkShape } from './bitstream.ts';
import type { Shape } from './bitstream.ts';
import type { Codec } from './codec.ts';
import { checkPoint } from './quantise.ts';

/**
 * Information of each channel's symbols under the tables, in bits: -sum log2(frequency / 65536), with the digits of
 * escapes as they are coded. Headers, the coder's last states and flags that are not set are not in it.
 * Throws `CodecError`.
 */
export function bitsPerChannel(symbols: Int16Array, shape: Shape, point: number, codec: Codec): Float64Array {
  const { tables } = codec;
  checkPoint(point, tables);
  checkShape(symbols, shape, tables);
  const plane = shape.h * shape.w;
  return Float64Array.from({ length: tables.channels }, (_, c) => {
    const table = tables.tableOf[point * tables.channels + c]!;
    let bits = 0;
    for (let i = c * plane; i < (c + 1) * plane; i++) bits += tables.tables.bits(table, symbols[i]!);
    return bits;
  });
}

/** The sum of `bitsPerChannel`: what the entropy coder should need for the image, in bits. */
export function estimateBits(symbols: Int16Array, shape: Shape, point: number, codec: Codec): number {
  return bitsPerChannel(symbols, shape, point, codec).reduce((sum, bits) => sum + bits, 0);
}

/** Bytes of `slices` that are last states of the coder: 4 for each lane of each slice (docs/rans.md, "The stream"). */
export function flushBytes(slices: readonly Uint8Array[]): number {
  return slices.reduce((bytes, slice) => bytes + 4 * lanesOf(slice), 0);
}
