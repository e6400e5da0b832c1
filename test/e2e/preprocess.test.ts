import { join } from 'node:path';
import { openBundle } from '@raccoon/bundle/node';
import { toTensor } from '@raccoon/edge';
import { readPixels } from '@raccoon/edge/node';
import { loadUnsplit, topClasses } from '@raccoon/rac';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { root, sample, shippedBundle } from '../helpers/paths.ts';

const bundle = await openBundle(shippedBundle);
const { input } = bundle.manifest;
const unsplit = await loadUnsplit(bundle, 1);

async function firstClass(pixels: Uint8Array): Promise<number> {
  return topClasses(await unsplit.run(toTensor(pixels, input)), 1)[0]!;
}

test.each(['goldfish', 'espresso', 'koala', 'raccoon'])(
  '%s: the pixels are those of training',
  async (name) => {
    const golden = await sharp(join(root, `test/vectors/preprocess/${name}.png`))
      .raw()
      .toBuffer();
    const pixels = await readPixels(sample(`${name}.jpg`), input);
    expect(pixels.length).toBe(golden.length);
    const difference =
      pixels.reduce((sum, value, i) => sum + Math.abs(value - golden[i]!), 0) / pixels.length;
    expect(difference).toBeLessThanOrEqual(1); // level of 255
    expect(await firstClass(pixels)).toBe(await firstClass(golden));
  },
);
