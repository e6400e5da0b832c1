import { describe, expect, test } from 'vitest';
import { jpegs, piped } from './jpegs.ts';

const SOI = [0xff, 0xd8];
const EOI = [0xff, 0xd9];
const segment = (marker: number, ...content: number[]): number[] => [
  0xff,
  marker,
  (content.length + 2) >> 8,
  (content.length + 2) & 255,
  ...content,
];
const scan = (...data: number[]): number[] => [...segment(0xda, 1, 1, 0, 0, 63, 0), ...data];

const plain = [...SOI, ...segment(0xe0, 1, 2, 3), ...scan(1, 2, 3), ...EOI];
/** A photo whose metadata have a photo, and two scans with stuffed bytes, restarts and fill bytes. */
const rich = [
  ...SOI,
  ...segment(0xe1, 0x45, 0x78, ...plain, 9),
  ...segment(0xfe, ...EOI),
  0xff,
  0x01, // TEM has no length
  0xff,
  0xff, // fill bytes before a marker
  ...segment(0xc4, 0xff, 0xd9),
  ...scan(0xff, 0x00, 5, 0xff, 0xd0, 6, 0xff, 0xff, 0x00, 7),
  ...segment(0xc4, 8),
  ...scan(0xff, 0xd7, 0xff, 0x00),
  ...EOI,
];

async function* inPieces(bytes: readonly number[], size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield Uint8Array.from(bytes.slice(at, at + size));
}

async function all(images: AsyncIterable<Uint8Array>): Promise<number[][]> {
  const list: number[][] = [];
  for await (const image of images) list.push([...image]);
  return list;
}

describe.each([1, 2, 3, 7, 1000])('in pieces of %i bytes', (size) => {
  test('images are found by their markers; a thumbnail is none', async () => {
    const stream = [...plain, ...rich, ...plain];
    expect(await all(jpegs(inPieces(stream, size)))).toEqual([plain, rich, plain]);
  });

  test('what stands between images is skipped', async () => {
    const stream = [0, 0, ...plain, 0, 0xff, 13, 10, 0xd8, ...rich, 0xff, 0xd8, 0xfe, ...plain, 0xff];
    expect(await all(jpegs(inPieces(stream, size)))).toEqual([plain, rich, plain]);
  });

  test('an image that the next one interrupts is given as far as it goes', async () => {
    const inScan = plain.slice(0, -4);
    const inSegments = plain.slice(0, 9);
    const stream = [...inScan, ...rich, ...inSegments, ...plain];
    expect(await all(jpegs(inPieces(stream, size)))).toEqual([inScan, rich, inSegments, plain]);
  });

  test('a segment that is no segment ends its image', async () => {
    const broken = [...SOI, ...segment(0xe0, 1), 7, 7];
    expect(await all(jpegs(inPieces([...broken, ...plain], size)))).toEqual([broken.slice(0, -2), plain]);
  });

  test('a stream that is cut is said to be', async () => {
    for (const cut of [3, 6, 13, plain.length - 1]) {
      const seen: number[][] = [];
      const reading = (async () => {
        for await (const image of jpegs(inPieces([...rich, ...plain.slice(0, cut)], size))) {
          seen.push([...image]);
        }
      })();
      await expect(reading, `${cut}`).rejects.toMatchObject({
        name: 'ClientError',
        code: 'cut-stream',
        message: expect.stringContaining('image 2'),
      });
      expect(seen).toEqual([rich]);
    }
  });

  test('no JPEG, nothing at all, and an image without end', async () => {
    await expect(all(jpegs(inPieces([1, 2, 3, 4, 5], size)))).rejects.toMatchObject({ code: 'not-jpeg' });
    await expect(all(jpegs(inPieces([], size)))).rejects.toMatchObject({ code: 'not-jpeg' });
    const endless = [...plain.slice(0, -2), ...Array.from({ length: 2000 }, () => 1)];
    await expect(all(jpegs(inPieces(endless, size), { maxBytes: 500 }))).rejects.toMatchObject({
      code: 'too-large',
    });
  });

  test('down a pipe: JPEGs, or one photo of any kind', async () => {
    expect(await all(piped(inPieces([...plain, ...rich], size)))).toEqual([plain, rich]);
    const png = [0x89, 0x50, 0x4e, 0x47, 1, 2, 3];
    expect(await all(piped(inPieces(png, size)))).toEqual([png]);
    expect(await all(piped(inPieces([], size)))).toEqual([[]]); // zero bytes: the edge says what that is
    await expect(all(piped(inPieces(png, size), { maxBytes: 6 }))).rejects.toMatchObject({
      code: 'too-large',
    });
  });
});

test('images are read no faster than they are taken', async () => {
  let read = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 10; i++) {
      read++;
      yield Uint8Array.from(plain);
    }
  }
  for await (const image of jpegs(counted())) {
    expect([...image]).toEqual(plain);
    break;
  }
  expect(read).toBe(1);
});
