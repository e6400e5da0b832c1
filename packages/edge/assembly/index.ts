// src/common/tensor.ts with SIMD: each operation rounds once, to float32, as there.

/**
 * `count` pixels at `pixels`, RGB of 8 bits, to three planes of float32 at `planes`: (x - mean) * scale. Reads up to 15
 * bytes behind the last pixel.
 */
export function normalise(
  pixels: usize,
  count: u32,
  planes: usize,
  meanR: f32,
  meanG: f32,
  meanB: f32,
  scaleR: f32,
  scaleG: f32,
  scaleB: f32,
): void {
  const plane = (<usize>count) << 2;
  let i: u32 = 0;
  for (; i + 4 <= count; i += 4) {
    const four = v128.load(pixels); // and a third of the next four
    const r = i8x16.swizzle(four, i8x16(0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1));
    const g = i8x16.swizzle(four, i8x16(1, -1, -1, -1, 4, -1, -1, -1, 7, -1, -1, -1, 10, -1, -1, -1));
    const b = i8x16.swizzle(four, i8x16(2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1));
    v128.store(planes, scaled(r, meanR, scaleR));
    v128.store(planes + plane, scaled(g, meanG, scaleG));
    v128.store(planes + 2 * plane, scaled(b, meanB, scaleB));
    pixels += 12;
    planes += 16;
  }
  for (; i < count; i++) {
    store<f32>(planes, (<f32>load<u8>(pixels) - meanR) * scaleR);
    store<f32>(planes + plane, (<f32>load<u8>(pixels, 1) - meanG) * scaleG);
    store<f32>(planes + 2 * plane, (<f32>load<u8>(pixels, 2) - meanB) * scaleB);
    pixels += 3;
    planes += 4;
  }
}

// @ts-ignore: decorator
@inline
function scaled(values: v128, mean: f32, scale: f32): v128 {
  const x = f32x4.convert_i32x4_s(values);
  return f32x4.mul(f32x4.sub(x, f32x4.splat(mean)), f32x4.splat(scale));
}
