import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { encodeJpeg, jpegNearest } from './jpeg.ts';

const golden = fileURLToPath(new URL('../../../test/vectors/preprocess/koala.png', import.meta.url));
const sizes: number[] = []; // by quality - 1

let pixels: Uint8Array;
beforeAll(async () => {
  pixels = await sharp(golden).raw().toBuffer();
  for (let quality = 1; quality <= 100; quality++) {
    sizes.push((await encodeJpeg(pixels, 224, 224, quality)).jpeg.length);
  }
});

test('a JPEG of the photo', async () => {
  const { jpeg, quality } = await encodeJpeg(pixels, 224, 224, 75);
  expect(quality).toBe(75);
  expect(await sharp(jpeg).metadata()).toMatchObject({
    format: 'jpeg',
    width: 224,
    height: 224,
    channels: 3,
  });
});

test('no quality comes nearer to a size', async () => {
  for (const bytes of [1, sizes[0]! + 1, 2000, 4000, 8000, 20_000, sizes[98]!, 1e6]) {
    const { jpeg, quality } = await jpegNearest(pixels, 224, 224, bytes);
    expect(jpeg.length).toBe(sizes[quality - 1]);
    const best = Math.min(...sizes.map((size) => Math.abs(size - bytes)));
    expect(Math.abs(jpeg.length - bytes), `for ${bytes} bytes`).toBe(best);
  }
});
