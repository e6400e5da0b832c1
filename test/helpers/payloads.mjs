import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBundle } from '@raccoon/bundle/node';
import { openEdge } from '@raccoon/edge/node';
import { root } from './report.mjs';
import { shippedBundle } from './service.mjs';
import { tinyPayloads, writeTinyBundle } from './tiny-bundle.mjs';

/** A bundle to serve, and images for it: { folder, bundle, payloads }. */
export async function shipped() {
  const folder = shippedBundle;
  const edge = await openEdge(folder, { threads: 1 });
  const payloads = [];
  for (const file of readdirSync(join(root, 'samples')).toSorted()) {
    if (!file.endsWith('.jpg')) continue;
    payloads.push((await edge.encode(join(root, 'samples', file))).slices[0]);
  }
  await edge.close();
  return { folder, bundle: edge.bundle, payloads };
}

export async function tiny() {
  const folder = await writeTinyBundle(temporaryFolder());
  const bundle = await openBundle(folder);
  return { folder, bundle, payloads: tinyPayloads(bundle, 64) };
}

/** A folder that is gone when the process ends. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-load-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
