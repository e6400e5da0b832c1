import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Manifest } from '@raccoon/bundle';
import type { RawImage } from '@raccoon/edge';
import { readPixels } from '@raccoon/edge/node';
import type { LabelledPhoto } from './photos.ts';
import { mulberry32 } from './random.ts';

/**
 * A photo as a poor camera sees it: at the network's size with Gaussian noise on every value, then 8 bits again (what would
 * be darker than black or brighter than white is not). The same noise for the same photo, `sigma` times as strong.
 * @param sigma its standard deviation, on values from 0 to 1
 * @throws EdgeError about the photo
 */
export async function addNoise(
  { path, wnid }: LabelledPhoto,
  input: Manifest['input'],
  sigma: number,
): Promise<RawImage> {
  const pixels = await readPixels(path, input);
  const seed = createHash('sha256')
    .update(`${wnid}/${basename(path)}`)
    .digest()
    .readUInt32LE();
  const random = mulberry32(seed);
  const data = Uint8Array.from(pixels);
  for (let i = 0; i < data.length; i += 2) {
    // Box and Muller: two independent normal numbers of two uniform ones
    const radius = 255 * sigma * Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    data[i] = toByte(pixels[i]! + radius * Math.cos(angle));
    if (i + 1 < data.length) data[i + 1] = toByte(pixels[i + 1]! + radius * Math.sin(angle));
  }
  return { data, width: input.width, height: input.height };
}

const toByte = (value: number): number => Math.min(255, Math.max(0, Math.round(value)));
