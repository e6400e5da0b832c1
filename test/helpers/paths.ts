import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { onTestFinished } from 'vitest';

/** The repository. */
export const root: string = resolve(import.meta.dirname, '../..');

/** The bundle that ships, by path: a child process may stand anywhere. */
export const shippedBundle: string = join(root, 'bundles/imagenet1k-mobilenet');

/** A sample photo. */
export function sample(name: string): string {
  return join(root, 'samples', name);
}

/** Every sample photo, sorted. */
export const samples: readonly string[] = readdirSync(join(root, 'samples'))
  .filter((name) => name.endsWith('.jpg'))
  .toSorted()
  .map(sample);

/** A folder that is gone when the test is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A file that `npm run build` makes. */
export function built(path: string): string {
  const file = join(root, path);
  if (!existsSync(file)) throw new Error(`${path} is missing: run \`npm run build\` first`);
  return file;
}
