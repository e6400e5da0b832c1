// src/quantise.ts with SIMD: each operation on doubles rounds once, as there.

/** Doubles in [2^52, 2^53) are the integers: adding this rounds half to even. */
const INTEGERS: f64 = 6755399441055744.0; // 1.5 * 2^52

/** Its bits, less 2^15: what is left of a rounded sum's bits is the symbol + 2^15. */
const LOWEST: i64 = 0x4338000000000000 - 0x8000;

/**
 * The float32 at `latent`, channels of `plane`, to the int16 at `symbols`: channel c with the float32 at gain[c] and
 * median[c]. Returns false, with `symbols` undefined, if one is beyond int16 or not a number.
 */
export function quantise(
  latent: usize,
  channels: u32,
  plane: u32,
  gain: usize,
  median: usize,
  symbols: usize,
): bool {
  let seen = i64x2.splat(0);
  for (let c: u32 = 0; c < channels; c++) {
    const g = <f64>load<f32>(gain + ((<usize>c) << 2));
    const m = <f64>load<f32>(median + ((<usize>c) << 2));
    const gains = f64x2.splat(g),
      medians = f64x2.splat(m);
    let j: u32 = 0;
    for (; j + 8 <= plane; j += 8) {
      const a = rounded(latent, gains, medians),
        b = rounded(latent + 8, gains, medians),
        d = rounded(latent + 16, gains, medians),
        e = rounded(latent + 24, gains, medians);
      seen = v128.or(seen, v128.or(v128.or(a, b), v128.or(d, e)));
      // the low halves, which are all there is of a symbol + 2^15 that fits
      const low = v128.shuffle<i32>(a, b, 0, 2, 4, 6),
        high = v128.shuffle<i32>(d, e, 0, 2, 4, 6);
      v128.store(symbols, v128.xor(i16x8.narrow_i32x4_u(low, high), i16x8.splat(-0x8000)));
      latent += 32;
      symbols += 16;
    }
    for (; j < plane; j++) {
      const one = reinterpret<i64>(g * (<f64>load<f32>(latent) - m) + INTEGERS) - LOWEST;
      seen = v128.or(seen, i64x2.splat(one));
      store<i16>(symbols, <i16>(one ^ 0x8000));
      latent += 4;
      symbols += 2;
    }
  }
  return !v128.any_true(i64x2.shr_u(seen, 16));
}

/** Of two latents, the symbols + 2^15 in 64 bits each; any bit above 16 says that one is none. */
// @ts-ignore: decorator
@inline
function rounded(latent: usize, gains: v128, medians: v128): v128 {
  const x = f64x2.promote_low_f32x4(v128.load64_zero(latent));
  const sum = f64x2.add(f64x2.mul(gains, f64x2.sub(x, medians)), f64x2.splat(INTEGERS));
  return i64x2.sub(sum, i64x2.splat(LOWEST));
}
