import { encodeImage } from './codecs.ts';

/** A photo as JPEG at one quality. */
export interface JpegPhoto {
  jpeg: Uint8Array;
  quality: number;
}

/**
 * A photo at the network's size as JPEG (mozjpeg, 4:2:0).
 * @param pixels RGB, 8 bits, (H, W, 3)
 * @param quality 1 to 100
 */
export async function encodeJpeg(
  pixels: Uint8Array,
  width: number,
  height: number,
  quality: number,
): Promise<JpegPhoto> {
  return { jpeg: await encodeImage(pixels, width, height, { format: 'jpeg', quality, effort: 1 }), quality };
}

/** The JPEG whose size is nearest to `bytes`: by bisection over quality 1 to 100, or JPEG's smallest. */
export async function jpegNearest(
  pixels: Uint8Array,
  width: number,
  height: number,
  bytes: number,
): Promise<JpegPhoto> {
  let low = await encodeJpeg(pixels, width, height, 1);
  if (low.jpeg.length >= bytes) return low;
  let high = await encodeJpeg(pixels, width, height, 100);
  while (high.quality - low.quality > 1) {
    const middle = await encodeJpeg(pixels, width, height, (low.quality + high.quality) >> 1);
    if (middle.jpeg.length > bytes) high = middle;
    else low = middle;
  }
  return bytes - low.jpeg.length <= high.jpeg.length - bytes ? low : high;
}
