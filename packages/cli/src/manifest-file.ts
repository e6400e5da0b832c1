import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Manifest } from '@raccoon/bundle';
import { findBundle } from '@raccoon/bundle/node';

/** Changes a bundle's manifest.json, which names its files' hashes but has none itself. A signature has to be made again. */
export async function editManifest(bundle: string, edit: (manifest: Manifest) => void): Promise<void> {
  const file = join(findBundle(bundle), 'manifest.json');
  const manifest = JSON.parse(await readFile(file, 'utf8')) as Manifest;
  edit(manifest);
  await writeFile(file, `${JSON.stringify(manifest, undefined, 1)}\n`);
}
