import { existsSync } from 'node:fs';
import type { Manifest } from '@raccoon/bundle';
import sharp, { type Sharp } from 'sharp';
import { EdgeError } from '../common/errors.ts';
import { imageName, type ImageInput, type RawImage } from '../common/image.ts';

/** A photo larger than this is refused before it is decoded: pixels cost 3 bytes each. */
export const MAX_MEGAPIXELS = 40;
/** A photo with a shorter side than this shows nothing that a classifier could see, px. */
export const MIN_SIDE = 8;

/**
 * A photo at the network's size: as it is if it has that size, else short side to `shortSide` with
 * antialiased bilinear (as Pillow's `Image.resize(..., BILINEAR)`) and centre crop. EXIF orientation is
 * applied, transparency goes on white. Decoded RGB of the network's size is given back as it came, not copied.
 *
 * @returns RGB, 8 bits, (H, W, 3)
 * @throws EdgeError
 */
export async function readPixels(
  image: ImageInput,
  input: Manifest['input'],
  maxMegapixels: number = MAX_MEGAPIXELS,
): Promise<Uint8Array> {
  const { width, height, shortSide } = input;
  const name = imageName(image);
  const size = await imageSize(image, name);
  if (size.width * size.height > maxMegapixels * 1e6) {
    throw new EdgeError(
      'image-too-large',
      `${name} has ${((size.width * size.height) / 1e6).toFixed(1)} megapixels, the limit is ${maxMegapixels}: scale it down first`,
    );
  }
  if (Math.min(size.width, size.height) < MIN_SIDE) {
    throw new EdgeError(
      'image-too-small',
      `${name} is ${size.width}x${size.height} px, at least ${MIN_SIDE}x${MIN_SIDE} are needed`,
    );
  }
  const scale = shortSide / Math.min(size.width, size.height);
  const scaledWidth = Math.max(width, Math.floor(size.width * scale + 0.5));
  const scaledHeight = Math.max(height, Math.floor(size.height * scale + 0.5));
  if (scaledWidth * scaledHeight > maxMegapixels * 1e6) {
    throw new EdgeError(
      'image-too-large',
      `${name} is ${size.width}x${size.height} px, too long and narrow to be scaled to a short side of ${shortSide}: crop it first`,
    );
  }
  if (
    isRaw(image) &&
    size.width === width &&
    size.height === height &&
    image.data.length === 3 * width * height
  ) {
    return image.data; // nothing to do
  }
  try {
    let photo = open(image).autoOrient().toColourspace('srgb').flatten({ background: '#ffffff' });
    if (size.width !== width || size.height !== height) {
      photo = photo
        // shrink-on-load would resample in the JPEG decoder, with another filter than in training
        .resize(scaledWidth, scaledHeight, { kernel: 'linear', fit: 'fill', fastShrinkOnLoad: false })
        .extract({
          left: Math.floor((scaledWidth - width) / 2),
          top: Math.floor((scaledHeight - height) / 2),
          width,
          height,
        });
    }
    return await photo.removeAlpha().raw().toBuffer();
  } catch (cause) {
    throw new EdgeError('not-an-image', `${name} is damaged: ${firstLine(cause)}`, { cause });
  }
}

/** Width and height as seen (after EXIF orientation), from the header alone. */
async function imageSize(image: ImageInput, name: string): Promise<{ width: number; height: number }> {
  if (isRaw(image)) {
    const pixels = image.width * image.height;
    if (image.data.length !== pixels * 3 && image.data.length !== pixels * 4) {
      throw new EdgeError(
        'raw-size',
        `${name}: ${image.data.length} bytes are neither RGB nor RGBA of ${image.width}x${image.height} px`,
      );
    }
    return { width: image.width, height: image.height };
  }
  try {
    const { autoOrient } = await open(image).metadata();
    return autoOrient;
  } catch (cause) {
    if (typeof image === 'string' && !existsSync(image)) {
      throw new EdgeError('not-found', `${name} does not exist`, { cause });
    }
    throw new EdgeError(
      'not-an-image',
      `${name} is not a photo that can be read (JPEG, PNG, WebP, AVIF, TIFF, GIF)`,
      {
        cause,
      },
    );
  }
}

function open(image: ImageInput): Sharp {
  // the limit on pixels is ours, with our message
  const options = { limitInputPixels: false, failOn: 'truncated' } as const;
  if (!isRaw(image)) return sharp(image, options);
  const channels = image.data.length === image.width * image.height * 4 ? 4 : 3;
  return sharp(image.data, { raw: { width: image.width, height: image.height, channels } });
}

function isRaw(image: ImageInput): image is RawImage {
  return typeof image === 'object' && 'data' in image;
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
}
