import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Manifest } from '@raccoon/bundle';
import { createResizer } from './resize.ts';
import { scaledSize } from './size.ts';

const input: Manifest['input'] = {
  width: 16,
  height: 16,
  shortSide: 18,
  filter: 'bilinear-antialias',
  mean: [0, 0, 0],
  std: [1, 1, 1],
};

/** Made by Pillow: test/vectors/preprocess/generate.py. */
const vectors = JSON.parse(
  readFileSync(new URL('../../../../test/vectors/preprocess/resize.json', import.meta.url), 'utf8'),
) as { width: number; height: number; pixels: string }[];

/** RGBA, (height, width, 4). */
function madeUp(width: number, height: number): Uint8Array {
  return Uint8Array.from({ length: width * height * 4 }, (_, i) =>
    i % 4 === 3 ? 77 : Math.imul((i >> 2) * 3 + (i % 4), 2654435761) >>> 24,
  );
}

/** A part of it. */
function cut(
  rgba: Uint8Array,
  stride: number,
  region: { left: number; top: number; width: number; height: number },
): Uint8Array {
  const rows = Array.from({ length: region.height }, (_, y) => {
    const from = ((region.top + y) * stride + region.left) * 4;
    return [...rgba.subarray(from, from + region.width * 4)];
  });
  return Uint8Array.from(rows.flat());
}

test.each(vectors)("$width x $height px: Pillow's bytes", ({ width, height, pixels }) => {
  const size = { width, height };
  const resizer = createResizer(size, scaledSize(size, input, 'it'), input);
  const part = cut(madeUp(width, height), width, resizer.region);
  const stride = resizer.region.width * 4;
  // in strips of any height
  for (let at = 0; at < part.length; at += 3 * stride) resizer.rows(part.subarray(at, at + 3 * stride));
  expect(Buffer.compare(resizer.pixels(), Buffer.from(pixels, 'base64'))).toBe(0);
});

test('only what the centre depends on is asked for', () => {
  const size = { width: 900, height: 90 };
  const { region } = createResizer(size, scaledSize(size, input, 'it'), input);
  expect(region).toEqual({ left: 408, top: 3, width: 85, height: 85 });
});
