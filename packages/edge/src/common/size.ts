import type { Manifest } from '@raccoon/bundle';
import { EdgeError } from './errors.ts';

/** A photo larger than this is refused before it is decoded: pixels cost 3 bytes each. */
export const MAX_MEGAPIXELS = 40;
/** A photo with a shorter side than this shows nothing that a classifier could see, px. */
export const MIN_SIDE = 8;

/** Width and height, px. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * The size that a photo is scaled to before its centre is cropped: short side to `shortSide`.
 * @param name of the photo, for messages
 * @throws EdgeError `image-too-large`, `image-too-small`
 */
export function scaledSize(
  { width, height }: Size,
  input: Manifest['input'],
  name: string,
  maxMegapixels: number = MAX_MEGAPIXELS,
): Size {
  if (width * height > maxMegapixels * 1e6) {
    throw new EdgeError(
      'image-too-large',
      `${name} has ${((width * height) / 1e6).toFixed(1)} megapixels, the limit is ${maxMegapixels}: scale it down first`,
    );
  }
  if (Math.min(width, height) < MIN_SIDE) {
    throw new EdgeError(
      'image-too-small',
      `${name} is ${width}x${height} px, at least ${MIN_SIDE}x${MIN_SIDE} are needed`,
    );
  }
  const scale = input.shortSide / Math.min(width, height);
  const scaled = {
    width: Math.max(input.width, Math.floor(width * scale + 0.5)),
    height: Math.max(input.height, Math.floor(height * scale + 0.5)),
  };
  if (scaled.width * scaled.height > maxMegapixels * 1e6) {
    throw new EdgeError(
      'image-too-large',
      `${name} is ${width}x${height} px, too long and narrow to be scaled to a short side of ${input.shortSide}: crop it first`,
    );
  }
  return scaled;
}
