import { existsSync } from 'node:fs';
import type { Manifest } from '@raccoon/bundle';
import sharp, { type Sharp } from 'sharp';
import { EdgeError } from '../common/errors.ts';
import { channelsOf, imageName, isRaw, type ImageInput } from '../common/image.ts';
import { scaledSize, type Size } from '../common/size.ts';

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
  maxMegapixels?: number,
): Promise<Uint8Array> {
  const { width, height } = input;
  const name = imageName(image);
  const size = await imageSize(image, name);
  const scaled = scaledSize(size, input, name, maxMegapixels);
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
        .resize(scaled.width, scaled.height, { kernel: 'linear', fit: 'fill', fastShrinkOnLoad: false })
        .extract({
          left: Math.floor((scaled.width - width) / 2),
          top: Math.floor((scaled.height - height) / 2),
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
async function imageSize(image: ImageInput, name: string): Promise<Size> {
  if (isRaw(image)) {
    channelsOf(image);
    return image;
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
  const { data, width, height } = image;
  return sharp(data, { raw: { width, height, channels: channelsOf(image) } });
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
}
