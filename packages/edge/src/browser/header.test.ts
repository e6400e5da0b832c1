import sharp, { type Sharp } from 'sharp';
import { describe, expect, test } from 'vitest';
import { declaredSize } from './header.ts';

/** A new one each time: sharp remembers the options that it was given. */
const photo = (): Sharp =>
  sharp({ create: { width: 301, height: 17, channels: 4, background: '#80402080' } });
const size = { width: 301, height: 17 };

const encodings = {
  png: () => photo().png(),
  'interlaced png': () => photo().png({ progressive: true }),
  gif: () => photo().gif(),
  jpeg: () => photo().jpeg(),
  'progressive jpeg with a header of its own': () =>
    photo()
      .jpeg({ progressive: true })
      .withExif({ IFD0: { Copyright: 'x' } }),
  'webp, extended': () => photo().webp(),
  'webp, plain': () => photo().removeAlpha().webp(),
  'webp, lossless': () => photo().webp({ lossless: true }),
};

test.each(Object.entries(encodings))('%s', async (_, encode) => {
  expect(declaredSize(new Uint8Array(await encode().toBuffer()))).toEqual(size);
});

describe('what says nothing', () => {
  test.each([
    ['no bytes', ''],
    ['a text', 'dear diary, today'],
    ['another format', 'BM-----------------------'],
    ['a RIFF file that is no picture', 'RIFF----WAVEfmt ----------------'],
    ['a JPEG without a frame', '\xff\xd8\xff\xd9'],
    ['a PNG that ends in its header', '\x89PNG\r\n\x1a\n'],
  ])('%s', (_, text) => {
    expect(declaredSize(Uint8Array.from(text, (character) => character.charCodeAt(0)))).toBeUndefined();
  });

  test('a JPEG cut off anywhere before its frame', async () => {
    const jpeg = new Uint8Array(await photo().jpeg().toBuffer());
    const whole = jpeg.findIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xc0) + 9;
    expect(declaredSize(jpeg.subarray(0, whole))).toEqual(size);
    for (let length = 0; length < whole; length++)
      expect(declaredSize(jpeg.subarray(0, length))).toBeUndefined();
  });
});
