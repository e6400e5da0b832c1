import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './payloads.mjs';
import { random } from './random.mjs';
import { root } from './report.mjs';
import { shippedBundle } from './service.mjs';
import { writeTinyBundle } from './tiny-bundle.mjs';

/** A bundle to serve, and images for an edge of it: { folder, images }. */
export function shippedPhotos() {
  const samples = readdirSync(join(root, 'samples')).filter((file) => file.endsWith('.jpg'));
  return { folder: shippedBundle, images: samples.toSorted().map((file) => join(root, 'samples', file)) };
}

/** The same for next to nothing: noise of 24 x 24 pixels, one colour stronger. */
export async function colours(count = 16, seed = 1) {
  const next = random(seed);
  const images = Array.from({ length: count }, (_, i) => ({
    data: Uint8Array.from({ length: 24 * 24 * 3 }, (__, at) => next() * (at % 3 === i % 3 ? 255 : 128)),
    width: 24,
    height: 24,
  }));
  return { folder: await writeTinyBundle(temporaryFolder()), images };
}
