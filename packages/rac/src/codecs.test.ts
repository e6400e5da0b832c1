import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { EFFORTS, encodeImage, IMAGE_FORMATS } from './codecs.ts';

const golden = fileURLToPath(new URL('../../../test/vectors/preprocess/koala.png', import.meta.url));

let pixels: Uint8Array;
beforeAll(async () => {
  pixels = await sharp(golden).raw().toBuffer();
});

test.each(IMAGE_FORMATS)('%s: a file of its format, the smaller the lower the quality', async (format) => {
  const sizes = [];
  for (const quality of [10, 50]) {
    const file = await encodeImage(pixels, 224, 224, { format, quality, effort: 0 });
    const metadata = await sharp(file).metadata();
    expect(metadata).toMatchObject({ width: 224, height: 224 });
    expect(metadata.format).toBe(format === 'avif' ? 'heif' : format);
    sizes.push(file.length);
  }
  expect(sizes[0]).toBeLessThan(sizes[1]!);
});

test.each(['jpeg', 'webp'] as const)('%s: effort buys bytes', async (format) => {
  const bytes = async (effort: number): Promise<number> =>
    (await encodeImage(pixels, 224, 224, { format, quality: 20, effort })).length;
  expect(await bytes(EFFORTS[format].most)).toBeLessThan(await bytes(0));
});
