import type { Picture } from './protocol.ts';

/** What a visitor would send without Raccoon. */
const USUAL_QUALITY = 75;

const TYPES = { JPEG: 'image/jpeg', WebP: 'image/webp' } as const;

/**
 * The network's own pixels as JPEG and as WebP: nearest to so many bytes from below, and at a usual quality. A format that this
 * browser cannot write is left out.
 * @param pixels RGB, 8 bits, (H, W, 3)
 */
export async function picturesOf(
  pixels: Uint8Array,
  width: number,
  height: number,
  bytes: number,
): Promise<Picture[]> {
  const canvas = new OffscreenCanvas(width, height);
  const rgba = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let i = 0; i < width * height; i++) rgba.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
  canvas.getContext('2d')!.putImageData(new ImageData(rgba, width, height), 0, 0);

  const pictures: Picture[] = [];
  for (const format of ['WebP', 'JPEG'] as const) {
    const write = (quality: number): Promise<Blob> =>
      canvas.convertToBlob({ type: TYPES[format], quality: quality / 100 });
    const usual = await write(USUAL_QUALITY);
    if (usual.type !== TYPES[format]) continue;
    pictures.push({ format, ...(await nearest(write, bytes)), nearest: true });
    pictures.push({ format, quality: USUAL_QUALITY, file: usual, nearest: false });
  }
  return pictures.toSorted((a, b) => a.file.size - b.file.size);
}

/** The highest quality with no more bytes; quality 0 where there is none. */
async function nearest(
  write: (quality: number) => Promise<Blob>,
  bytes: number,
): Promise<{ quality: number; file: Blob }> {
  let best = { quality: 0, file: await write(0) };
  for (let low = 1, high = 100; low <= high;) {
    const quality = (low + high) >> 1;
    const file = await write(quality);
    if (file.size > bytes) high = quality - 1;
    else {
      best = { quality, file };
      low = quality + 1;
    }
  }
  return best;
}
