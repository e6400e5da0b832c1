import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import type { Manifest } from '@raccoon/bundle';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ImageInput, RawImage } from '../common/image.ts';
import { readPixels } from './pixels.ts';

const input: Manifest['input'] = {
  width: 224,
  height: 224,
  shortSide: 256,
  filter: 'bilinear-antialias',
  mean: [0, 0, 0],
  std: [1, 1, 1],
};
const raccoon = fileURLToPath(new URL('../../../../samples/raccoon.jpg', import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-pixels-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

type Rgb = [number, number, number];

const red: Rgb = [230, 20, 30];
const blue: Rgb = [10, 40, 220];

/** A photo of one colour on the left and another on the right. */
function twoColours(width: number, height: number, left: Rgb = red, right: Rgb = blue): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) data.set(i % width < width / 2 ? left : right, 3 * i);
  return { data, width, height };
}

function encoder({ data, width, height }: RawImage): Sharp {
  const channels = data.length === width * height * 4 ? 4 : 3;
  return sharp(data, { raw: { width, height, channels } });
}

/** The pixel at (x, y) of what readPixels gives. */
function at(pixels: Uint8Array, x: number, y: number): number[] {
  expect(pixels.length).toBe(224 * 224 * 3);
  return [...pixels.subarray((y * 224 + x) * 3, (y * 224 + x) * 3 + 3)];
}

/** Every value at most `levels` from what is expected. */
function expectNear(actual: number[], expected: number[], levels: number): void {
  for (const [i, value] of expected.entries()) {
    expect(
      Math.abs(actual[i]! - value),
      `${actual.join()} instead of ${expected.join()}`,
    ).toBeLessThanOrEqual(levels);
  }
}

describe("a photo of the network's size", () => {
  const exact = twoColours(224, 224);

  test('is not touched, however it comes', async () => {
    const png = await encoder(exact).png().toBuffer();
    const file = join(folder, 'exact.png');
    writeFileSync(file, png);
    expect(await readPixels(exact, input)).toBe(exact.data); // not even copied
    for (const image of [exact, file, new Uint8Array(png)] satisfies ImageInput[]) {
      expect(Buffer.compare(await readPixels(image, input), exact.data)).toBe(0);
    }
  });

  test('may have an alpha channel: opaque, it changes nothing', async () => {
    const rgba = new Uint8Array(224 * 224 * 4);
    for (let i = 0; i < 224 * 224; i++) rgba.set([...exact.data.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    const pixels = await readPixels({ data: rgba, width: 224, height: 224 }, input);
    expect(Buffer.compare(pixels, exact.data)).toBe(0);
  });
});

test('the same photo gives the same bytes', async () => {
  expect(Buffer.compare(await readPixels(raccoon, input), await readPixels(raccoon, input))).toBe(0);
});

test.each([
  [448, 300],
  [300, 448],
  [100, 60],
  [8, 2000],
])('%i x %i px is scaled and cropped around its centre', async (width, height) => {
  const pixels = await readPixels(twoColours(width, height), input);
  expectNear(at(pixels, 4, 4), red, 1);
  expectNear(at(pixels, 219, 219), blue, 1);
});

test('EXIF orientation is applied, to a photo of the right size as well', async () => {
  const wide = twoColours(224, 224);
  // 6: the camera was turned; the viewer turns the photo by 90 degrees clockwise, so left comes up
  const turned = await encoder(wide).withMetadata({ orientation: 6 }).png().toBuffer();
  const pixels = await readPixels(turned, input);
  expect(at(pixels, 200, 10)).toEqual(red);
  expect(at(pixels, 10, 200)).toEqual(blue);

  const large = await encoder(twoColours(640, 300)).withMetadata({ orientation: 6 }).png().toBuffer();
  const scaled = await readPixels(large, input);
  expectNear(at(scaled, 200, 10), red, 1);
  expectNear(at(scaled, 10, 200), blue, 1);
});

test('grayscale becomes three equal channels', async () => {
  const gray = await encoder(twoColours(300, 300, [60, 60, 60], [200, 200, 200]))
    .toColourspace('b-w')
    .png()
    .toBuffer();
  expect((await sharp(gray).metadata()).channels).toBe(1);
  const pixels = await readPixels(gray, input);
  expectNear(at(pixels, 5, 100), [60, 60, 60], 1);
  expectNear(at(pixels, 219, 100), [200, 200, 200], 1);
});

test('transparency goes on white', async () => {
  const data = new Uint8Array(300 * 300 * 4);
  for (let i = 0; i < 300 * 300; i++) data.set([...red, i % 300 < 150 ? 0 : 128], 4 * i);
  const image = { data, width: 300, height: 300 };
  for (const form of [image, new Uint8Array(await encoder(image).png().toBuffer())]) {
    const pixels = await readPixels(form, input);
    expectNear(at(pixels, 5, 100), [255, 255, 255], 1);
    expectNear(
      at(pixels, 219, 100),
      red.map((value) => 127 + value / 2),
      2,
    );
  }
});

test('a CMYK JPEG is converted, not inverted', async () => {
  const cmyk = await encoder(twoColours(300, 300, [255, 255, 255], [20, 20, 20]))
    .toColourspace('cmyk')
    .jpeg({ quality: 95 })
    .toBuffer();
  expect((await sharp(cmyk).metadata()).channels).toBe(4);
  const pixels = await readPixels(cmyk, input);
  expectNear(at(pixels, 5, 100), [255, 255, 255], 10);
  expectNear(at(pixels, 219, 100), [20, 20, 20], 40);
});

test('16 bits a channel become 8', async () => {
  const deep = await encoder(twoColours(300, 300)).toColourspace('rgb16').png().toBuffer();
  expect((await sharp(deep).metadata()).depth).toBe('ushort');
  const pixels = await readPixels(deep, input);
  expectNear(at(pixels, 5, 100), red, 1);
  expectNear(at(pixels, 219, 100), blue, 1);
});

test('16 bits of gray with an alpha channel', async () => {
  const deep = await encoder(twoColours(300, 300, [60, 60, 60], [200, 200, 200]))
    .ensureAlpha()
    .toColourspace('grey16')
    .png()
    .toBuffer();
  expect(await sharp(deep).metadata()).toMatchObject({ depth: 'ushort', channels: 2 });
  const pixels = await readPixels(deep, input);
  expectNear(at(pixels, 5, 100), [60, 60, 60], 1);
  expectNear(at(pixels, 219, 100), [200, 200, 200], 1);
});

test.each(['gif', 'webp'] as const)('of an animated %s, the first frame', async (format) => {
  const frames = [twoColours(300, 300), twoColours(300, 300, blue, red), twoColours(300, 300, blue, blue)];
  const stills = await Promise.all(frames.map((frame) => encoder(frame).png().toBuffer()));
  const animated = await sharp(stills, { join: { animated: true } })
    .toFormat(format, format === 'webp' ? { lossless: true } : {})
    .toBuffer();
  expect((await sharp(animated).metadata()).pages).toBe(3);
  const pixels = await readPixels(animated, input);
  expectNear(at(pixels, 5, 100), red, 6);
  expectNear(at(pixels, 219, 100), blue, 6);
});

const fails = (image: ImageInput, code: string, message: string): Promise<void> =>
  expect(readPixels(image, input)).rejects.toMatchObject({
    name: 'EdgeError',
    code,
    message: expect.stringContaining(message),
  });

describe('what is wrong has a code', () => {
  test('not-found', () => fails(join(folder, 'nobody.jpg'), 'not-found', 'nobody.jpg does not exist'));

  test('not-an-image: a text file, whatever its name', async () => {
    const file = join(folder, 'missing.jpg');
    writeFileSync(file, 'dear diary');
    await fails(file, 'not-an-image', 'missing.jpg is not a photo');
  });

  test('not-an-image: a folder, no bytes, zeros', async () => {
    const directory = join(folder, 'photos.jpg');
    mkdirSync(directory);
    await fails(directory, 'not-an-image', 'photos.jpg');
    await fails(new Uint8Array(0), 'not-an-image', 'the image');
    await fails(new Uint8Array(5000), 'not-an-image', 'the image');
  });

  test('not-an-image: a JPEG without its end', async () => {
    const jpeg = await encoder(twoColours(300, 300)).jpeg().toBuffer();
    await fails(jpeg.subarray(0, jpeg.length - 500), 'not-an-image', 'the image is damaged');
    const file = join(folder, 'half.jpg');
    writeFileSync(file, jpeg.subarray(0, jpeg.length / 2));
    await fails(file, 'not-an-image', 'half.jpg');
  });

  test('image-too-small', () => fails(twoColours(1, 1), 'image-too-small', '1x1 px, at least 8x8'));

  test('image-too-large: 100 megapixels in a small file, refused by its header', async () => {
    const png = await encoder(twoColours(8, 8)).png().toBuffer();
    png.writeUInt32BE(10_000, 16); // width and height in the header's chunk, and its checksum
    png.writeUInt32BE(10_000, 20);
    png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
    const file = join(folder, 'large.png');
    writeFileSync(file, png);
    await fails(file, 'image-too-large', 'large.png has 100.0 megapixels, the limit is 40');
  });

  test('image-too-large: so narrow that scaling it would need more pixels than allowed', () =>
    fails(twoColours(8, 6000), 'image-too-large', '8x6000 px, too long and narrow'));

  test('raw-size', async () => {
    const { data } = twoColours(20, 20);
    await fails(
      { data, width: 20, height: 21 },
      'raw-size',
      '1200 bytes are neither RGB nor RGBA of 20x21 px',
    );
  });
});
