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
