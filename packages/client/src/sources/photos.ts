import { readdir, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { ClientError } from '../errors.ts';

/** What is taken for a photo in a folder. */
export const PHOTO: RegExp = /\.(jpe?g|png|webp|avif|tiff?|gif)$/i;

export interface PhotosOptions {
  /** Folders within folders as well; default: no. */
  recursive?: boolean;
}

/**
 * Paths of photos, in the order given: files as they are, folders and patterns (`photos/**\/*.jpg`, where no such file is)
 * replaced by what they hold, sorted. A file that does not exist is passed on: its error is its own.
 * @throws ClientError `no-photos`, `not-found` for a pattern that nothing matches
 */
export async function* photos(
  paths: Iterable<string>,
  { recursive = false }: PhotosOptions = {},
): AsyncGenerator<string> {
  for (const path of paths) {
    const entry = await stat(path).catch(() => undefined);
    if (entry?.isDirectory()) yield* await photosIn(path, recursive);
    else if (!entry && isDynamicPattern(path)) yield* await matching(path);
    else yield path;
  }
}

async function photosIn(folder: string, recursive: boolean): Promise<string[]> {
  const names = await readdir(folder, { recursive });
  const found = names.filter((name) => PHOTO.test(name)).toSorted();
  if (found.length > 0) return found.map((name) => join(folder, name));
  throw new ClientError('no-photos', `no photos in ${folder}${recursive ? '' : ' itself (not recursive)'}`);
}

async function matching(pattern: string): Promise<string[]> {
  const found = await glob(pattern, { expandDirectories: false, absolute: isAbsolute(pattern) });
  if (found.length > 0) return found.toSorted();
  throw new ClientError('not-found', `no file matches ${pattern}`);
}
