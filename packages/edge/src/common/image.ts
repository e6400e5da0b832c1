import { EdgeError } from './errors.ts';

/** Decoded pixels: 8-bit sRGB, rows first, 3 (RGB) or 4 (RGBA) bytes per pixel. */
export interface RawImage {
  data: Uint8Array;
  /** px */
  width: number;
  /** px */
  height: number;
}

/** A photo: a file's path, an encoded file's bytes (JPEG, PNG, WebP, ...), or decoded pixels. */
export type ImageInput = string | Uint8Array | RawImage;

/** What a message calls an image. */
export function imageName(image: ImageInput): string {
  return typeof image === 'string' ? image : 'the image';
}

export function isRaw(image: ImageInput): image is RawImage {
  return typeof image === 'object' && 'data' in image;
}

/** Bytes of a pixel. @throws EdgeError `raw-size` */
export function channelsOf({ data, width, height }: RawImage): 3 | 4 {
  const pixels = width * height;
  if (data.length === pixels * 3) return 3;
  if (data.length === pixels * 4) return 4;
  throw new EdgeError(
    'raw-size',
    `the image: ${data.length} bytes are neither RGB nor RGBA of ${width}x${height} px`,
  );
}
