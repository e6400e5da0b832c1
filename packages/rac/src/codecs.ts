import sharp, { type Sharp } from 'sharp';

export const IMAGE_FORMATS = ['jpeg', 'webp', 'avif'] as const;

export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** An image codec with its settings. */
export interface ImageCodec {
  format: ImageFormat;
  /** 1 to 100 */
  quality: number;
  /** How hard the encoder tries, within `EFFORTS`. */
  effort: number;
}

/** JPEG: 0 is libjpeg-turbo, 1 mozjpeg. WebP: libwebp's methods. AVIF: libaom's speeds, slowest last. */
export const EFFORTS: Readonly<Record<ImageFormat, { usual: number; most: number }>> = {
  jpeg: { usual: 1, most: 1 },
  webp: { usual: 4, most: 6 },
  avif: { usual: 4, most: 9 },
};

/**
 * A photo at the network's size as a file, lossy, with half the resolution in colour (4:2:0), which is the better choice at
 * the rates of interest for all three.
 * @param pixels RGB, 8 bits, (H, W, 3)
 */
export async function encodeImage(
  pixels: Uint8Array,
  width: number,
  height: number,
  codec: ImageCodec,
): Promise<Uint8Array> {
  const image = sharp(pixels, { raw: { width, height, channels: 3 } });
  return new Uint8Array(await as(image, codec).toBuffer());
}

function as(image: Sharp, { format, quality, effort }: ImageCodec): Sharp {
  switch (format) {
    case 'jpeg':
      return image.jpeg({ quality, mozjpeg: effort === 1 });
    case 'webp':
      return image.webp({ quality, effort });
    default: // AVIF
      return image.avif({ quality, effort, chromaSubsampling: '4:2:0' });
  }
}
