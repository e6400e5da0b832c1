import { CodecError } from './errors.ts';
import type { CodecTables } from './tables.ts';
import { openSimd } from './wasm/simd.ts';

/**
 * latent (C, plane) -> symbols (C, plane): `roundHalfEven(gain * (latent - median))` of the channel at operating point
 * `point`; plane = h * w. The float32 values are widened to float64 first, and each operation rounds once, so every
 * language with IEEE doubles gives the same symbols.
 *
 * Throws `CodecError` 'point-range', 'shape-mismatch', and 'symbol-range' for a symbol beyond int16 or a NaN.
 */
export function quantise(
  latent: Float32Array,
  plane: number,
  point: number,
  t: CodecTables,
  out: Int16Array = new Int16Array(latent.length),
): Int16Array {
  checkPoint(point, t);
  if (latent.length !== t.channels * plane || out.length !== latent.length) {
    throw new CodecError(
      'shape-mismatch',
      `${latent.length} latents into ${out.length} symbols, but ${t.channels} channels of ${plane}`,
    );
  }
  const gains = t.gain.subarray(point * t.channels, (point + 1) * t.channels);
  const medians = t.median.subarray(point * t.channels, (point + 1) * t.channels);
  simd ??= openSimd();
  if (!simd.quantise(latent, plane, gains, medians, out)) quantisePlain(latent, plane, gains, medians, out);
  return out;
}

/** One a thread, made at the first call. */
let simd: ReturnType<typeof openSimd> | undefined;

/** Runs everywhere, and knows what is wrong: gains and medians (C). */
export function quantisePlain(
  latent: Float32Array,
  plane: number,
  gains: Float32Array,
  medians: Float32Array,
  out: Int16Array,
): void {
  for (let c = 0, i = 0; c < gains.length; c++) {
    const gain = gains[c]!;
    const median = medians[c]!;
    for (const end = i + plane; i < end; i++) {
      const symbol = roundHalfEven(gain * (latent[i]! - median));
      if (!(symbol >= -0x8000 && symbol <= 0x7fff)) {
        throw new CodecError(
          'symbol-range',
          `latent ${latent[i]} of channel ${c} gives symbol ${symbol}, beyond int16`,
        );
      }
      out[i] = symbol;
    }
  }
}

/** Throws `CodecError` 'point-range' if `t` has no operating point `point`. */
export function checkPoint(point: number, t: CodecTables): void {
  if (!(Number.isInteger(point) && point >= 0 && point < t.points)) {
    throw new CodecError('point-range', `operating point ${point}; this codec has 0 to ${t.points - 1}`);
  }
}

// Doubles in [2^52, 2^53) are the integers, and the sum is rounded half to even. Exact for |x| <= 2^51.
const INTEGERS = 1.5 * 2 ** 52;

function roundHalfEven(x: number): number {
  return x + INTEGERS - INTEGERS;
}
