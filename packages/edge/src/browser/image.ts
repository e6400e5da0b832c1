/// <reference lib="dom" />
import { EdgeError } from '../common/errors.ts';
import type { RawImage } from '../common/image.ts';

/** What a page has a picture in. */
export type BrowserImage =
  | Blob
  | ImageData
  | ImageBitmap
  | VideoFrame
  | HTMLImageElement
  | HTMLVideoElement
  | HTMLCanvasElement
  | OffscreenCanvas;

/** Something that a canvas draws. */
export type Drawable = Exclude<BrowserImage, Blob | ImageData>;

/**
 * The pixels of something that a page has a picture in, as it is seen: turned as its file says, transparency on white. A
 * video's or a camera's are those of this moment. Its own objects are left as they are; a VideoFrame is yours to close.
 * @throws EdgeError `not-an-image` when there is nothing to see, or another origin's that a page may not read
 */
export async function toRawImage(image: BrowserImage): Promise<RawImage> {
  if (image instanceof ImageData) {
    const { data, width, height } = image;
    return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), width, height };
  }
  if (!(image instanceof Blob)) return readAll(image);
  const bitmap = await decode(image);
  try {
    return readAll(bitmap);
  } finally {
    bitmap.close();
  }
}

/** An encoded photo, turned as its EXIF says, in sRGB. @throws EdgeError `not-an-image` */
export async function decode(file: Blob): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file, { imageOrientation: 'from-image', premultiplyAlpha: 'none' });
  } catch (cause) {
    throw new EdgeError(
      'not-an-image',
      'the image is not a photo that this browser can read (JPEG, PNG, WebP, GIF, in most also AVIF), or it is damaged',
      { cause },
    );
  }
}

/** A part of a picture, (height, width, 4), on white. @throws EdgeError `not-an-image` */
export function draw(
  image: Drawable,
  region: { readonly left: number; readonly top: number; readonly width: number; readonly height: number },
): Uint8ClampedArray {
  const { left, top, width, height } = region;
  const canvas = new OffscreenCanvas(width, height);
  // kept in this processor's memory: it is read once and thrown away
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new EdgeError('platform', 'this browser gives no 2D canvas to read pixels from');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  try {
    context.drawImage(image, left, top, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  } catch (cause) {
    throw new EdgeError(
      'not-an-image',
      `the image cannot be read: ${(cause as Error).message} (another origin's needs its leave: crossorigin="anonymous")`,
      { cause },
    );
  }
}

function readAll(image: Drawable): RawImage {
  const { width, height } = sizeOf(image);
  if (width === 0 || height === 0) {
    throw new EdgeError(
      'not-an-image',
      'the image has no pixels yet: wait until it, or the video, is loaded',
    );
  }
  const { buffer } = draw(image, { left: 0, top: 0, width, height });
  return { data: new Uint8Array(buffer), width, height };
}

function sizeOf(image: Drawable): { readonly width: number; readonly height: number } {
  if ('displayWidth' in image) return { width: image.displayWidth, height: image.displayHeight };
  if ('videoWidth' in image) return { width: image.videoWidth, height: image.videoHeight };
  if ('naturalWidth' in image) return { width: image.naturalWidth, height: image.naturalHeight };
  return image;
}
