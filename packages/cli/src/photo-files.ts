import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

const PHOTO = /\.(jpe?g|png|webp|avif|tiff?|gif)$/i;

/**
 * Paths as given, folders replaced by the photos in them (not deeper), sorted. What does not exist stays in the
 * list: its error is its own.
 */
export async function photoFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    const isFolder = await stat(path).then(
      (entry) => entry.isDirectory(),
      () => false,
    );
    if (!isFolder) {
      files.push(path);
      continue;
    }
    const photos = (await readdir(path)).filter((name) => PHOTO.test(name)).toSorted();
    if (photos.length === 0) throw new Error(`no photos in ${path}`);
    files.push(...photos.map((name) => join(path, name)));
  }
  return files;
}
