/// <reference lib="dom" />
import type { Manifest } from '@raccoon/bundle';
import { EdgeError } from '../common/errors.ts';
import { channelsOf, isRaw, type ImageInput, type RawImage } from '../common/image.ts';
import { createResizer } from '../common/resize.ts';
import { scaledSize, type Size } from '../common/size.ts';
import { declaredSize } from './header.ts';
import { decode, draw } from './image.ts';

/** What a message calls it: it has no path. */
const NAME = 'the image';
/** Pixels that are drawn at a time: of a photo of 40 megapixels a phone would not give memory for all. */
const STRIP_PIXELS = 2 ** 21;

/**
 * A photo at the network's size: as it is if it has that size, else short side to `shortSide` with antialiased bilinear
 * (the bytes of Pillow's) and centre crop. EXIF orientation is applied, transparency goes on white. Decoded RGB of the
 * network's size is given back as it came, not copied.
 *
 * @returns RGB, 8 bits, (H, W, 3)
 * @throws EdgeError
 */
export async function readPixels(
  image: ImageInput,
  input: Manifest['input'],
  maxMegapixels?: number,
): Promise<Uint8Array> {
  if (typeof image === 'string') {
    throw new EdgeError(
      'not-found',
      `a page has no files by path, so no ${image}: give its bytes, or fetch it`,
    );
  }
  if (isRaw(image)) return rawPixels(image, input, maxMegapixels);
  const declared = declaredSize(image);
  if (declared) scaledSize(declared, input, NAME, maxMegapixels); // refuses it before it is decoded
  const bitmap = await decode(new Blob([image as Uint8Array<ArrayBuffer>]));
  try {
    return resized(bitmap, input, maxMegapixels, (region) => draw(bitmap, region));
  } finally {
    bitmap.close();
  }
}

function rawPixels(image: RawImage, input: Manifest['input'], maxMegapixels?: number): Uint8Array {
  const { data, width, height } = image;
  const channels = channelsOf(image);
  if (channels === 3 && width === input.width && height === input.height) return data; // nothing to do
  return resized(image, input, maxMegapixels, (region) => onWhite(data, width, channels, region));
}

type Region = Size & { readonly left: number; readonly top: number };

/** @param read RGBA of a part, transparency on white */
function resized(
  size: Size,
  input: Manifest['input'],
  maxMegapixels: number | undefined,
  read: (region: Region) => Uint8Array | Uint8ClampedArray,
): Uint8Array {
  const scaled = scaledSize(size, input, NAME, maxMegapixels);
  if (size.width === input.width && size.height === input.height) {
    return withoutAlpha(read({ left: 0, top: 0, ...input }));
  }
  const resizer = createResizer(size, scaled, input);
  const { left, top, width, height } = resizer.region;
  const lines = Math.max(1, Math.floor(STRIP_PIXELS / width));
  for (let at = 0; at < height; at += lines) {
    resizer.rows(read({ left, top: top + at, width, height: Math.min(lines, height - at) }));
  }
  return resizer.pixels();
}

function withoutAlpha(rgba: Uint8Array | Uint8ClampedArray): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from]!;
    rgb[to++] = rgba[from + 1]!;
    rgb[to++] = rgba[from + 2]!;
  }
  return rgb;
}

/** A part of decoded pixels as RGBA on white. */
function onWhite(data: Uint8Array, stride: number, channels: number, region: Region): Uint8Array {
  const { left, top, width, height } = region;
  const rgba = new Uint8Array(width * height * 4);
  let to = 0;
  for (let y = top; y < top + height; y++) {
    let from = (y * stride + left) * channels;
    for (let x = 0; x < width; x++, from += channels, to += 4) {
      const alpha = channels === 4 ? data[from + 3]! : 255;
      for (let c = 0; c < 3; c++) {
        rgba[to + c] = alpha === 255 ? data[from + c]! : blend(data[from + c]!, alpha);
      }
    }
  }
  return rgba;
}

const blend = (value: number, alpha: number): number =>
  Math.round((value * alpha + 255 * (255 - alpha)) / 255);
