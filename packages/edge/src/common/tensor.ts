import type { Manifest } from '@raccoon/bundle';

/**
 * Pixels to the network's input: `(x - mean) / std` per channel, planes instead of interleaved.
 *
 * @param pixels RGB, 8 bits, (H, W, 3) at the network's size
 * @returns (1, 3, H, W)
 */
export function toTensor(pixels: Uint8Array, input: Manifest['input']): Float32Array<ArrayBuffer> {
  const plane = input.width * input.height;
  const tensor = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    const scale = 1 / input.std[c]!;
    const offset = -input.mean[c]! * scale;
    for (let i = 0, from = c, to = c * plane; i < plane; i++, from += 3) {
      tensor[to + i] = pixels[from]! * scale + offset;
    }
  }
  return tensor;
}
