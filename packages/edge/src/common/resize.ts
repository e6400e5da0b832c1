import type { Manifest } from '@raccoon/bundle';
import type { Size } from './size.ts';

/** Bits behind the point of a weight: Pillow's, for 8-bit pixels. */
const WEIGHT_BITS = 22;
const HALF = 1 << (WEIGHT_BITS - 1);

/** What output positions along an axis are made of: `size` input positions each, of which the last ones may weigh nothing. */
interface Taps {
  /** (count): the first input position of each. */
  readonly first: Int32Array;
  /** (count, size) */
  readonly weights: Int32Array;
  readonly size: number;
}

/** Takes a photo by its rows, from the top, and gives its pixels at the network's size. */
export interface Resizer {
  /** The part of the photo that the result depends on, px: nothing else need be read. */
  readonly region: { readonly left: number; readonly top: number } & Size;
  /** @param rgba rows of the region, (rows, region.width, 4), the next ones from the top; alpha is not looked at */
  rows(rgba: Uint8Array | Uint8ClampedArray): void;
  /** RGB, 8 bits, (H, W, 3), once all rows are there. */
  pixels(): Uint8Array;
}

/**
 * Antialiased bilinear as in Pillow's `Image.resize(..., BILINEAR)`, then a centre crop: Pillow's integers (Resample.c), so its
 * bytes. First along the rows, rounded to 8 bits, then along the columns.
 * @param size of the photo
 * @param scaled what it is scaled to before the crop, at least the network's size
 */
export function createResizer(size: Size, scaled: Size, { width, height }: Manifest['input']): Resizer {
  const columns = taps(size.width, scaled.width, Math.floor((scaled.width - width) / 2), width);
  const lines = taps(size.height, scaled.height, Math.floor((scaled.height - height) / 2), height);
  const [left, right] = extent(columns);
  const [top, bottom] = extent(lines);
  const region = { left, top, width: right - left, height: bottom - top };
  const narrow = new Uint8Array(region.height * width * 3); // (region.height, W, 3)
  let done = 0;

  return {
    region,
    rows(rgba) {
      const stride = region.width * 4;
      const { first, weights, size: taken } = columns;
      for (let row = -left * 4; row + left * 4 < rgba.length; row += stride) {
        let to = done++ * width * 3;
        for (let x = 0, tap = 0; x < width; x++) {
          let r = HALF;
          let g = HALF;
          let b = HALF;
          let at = row + first[x]! * 4;
          for (const end = tap + taken; tap < end; tap++, at += 4) {
            const weight = weights[tap]!;
            r += Math.imul(rgba[at]!, weight);
            g += Math.imul(rgba[at + 1]!, weight);
            b += Math.imul(rgba[at + 2]!, weight);
          }
          narrow[to++] = r >> WEIGHT_BITS; // weights are not negative and sum to one: nothing to clip
          narrow[to++] = g >> WEIGHT_BITS;
          narrow[to++] = b >> WEIGHT_BITS;
        }
      }
    },
    pixels() {
      const stride = width * 3;
      const pixels = new Uint8Array(height * stride);
      const { first, weights, size: taken } = lines;
      const sums = new Int32Array(stride);
      for (let y = 0; y < height; y++) {
        sums.fill(HALF);
        for (let i = 0; i < taken; i++) {
          const weight = weights[y * taken + i]!;
          const row = (first[y]! - top + i) * stride;
          for (let x = 0; x < stride; x++) sums[x]! += Math.imul(narrow[row + x]!, weight);
        }
        for (let x = 0; x < stride; x++) pixels[y * stride + x] = sums[x]! >> WEIGHT_BITS;
      }
      return pixels;
    },
  };
}

/** What `count` output positions from `from` on are made of, when `size` px become `scaled`. */
function taps(size: number, scaled: number, from: number, count: number): Taps {
  const scale = size / scaled;
  const support = Math.max(1, scale); // of a triangle as wide as it must be against aliasing
  const inverse = 1 / support;
  const all = Array.from({ length: count }, (_, i) => {
    const centre = (from + i + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(size, Math.trunc(centre + support + 0.5));
    const shares = Float64Array.from({ length: end - begin }, (__, k) =>
      Math.max(0, 1 - Math.abs((begin + k - centre + 0.5) * inverse)),
    );
    const sum = shares.reduce((a, b) => a + b, 0);
    return { begin, weights: shares.map((share) => Math.trunc((share / sum) * 2 ** WEIGHT_BITS + 0.5)) };
  });
  const most = Math.max(...all.map(({ weights }) => weights.length));
  const first = new Int32Array(count);
  const weights = new Int32Array(count * most);
  for (const [i, tap] of all.entries()) {
    // what is taken ends within the photo
    first[i] = Math.min(tap.begin, size - most);
    weights.set(tap.weights, i * most + tap.begin - first[i]);
  }
  return { first, weights, size: most };
}

/** From the first input position that is used to behind the last. */
function extent({ first, size }: Taps): [number, number] {
  return [first[0]!, first.at(-1)! + size];
}
