import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve, sep } from 'node:path';
import { loadBundle, type Bundle, type LoadOptions } from '../bundle.ts';
import { BundleError } from '../errors.ts';
import type { FileSource } from '../source.ts';

/** A bundle's files in a folder. */
export function folderSource(folder: string): FileSource {
  return {
    origin: folder,
    async read(file) {
      try {
        return new Uint8Array(await readFile(join(folder, file)));
      } catch (cause) {
        throw new BundleError('file-missing', `${join(folder, file)} cannot be read`, { cause });
      }
    },
  };
}

/** Where names are looked up, nearest first: `bundles/` here and in every parent folder, then the user's cache. */
export function searchFolders(cwd: string = process.cwd()): string[] {
  const folders = [];
  for (let at = resolve(cwd); ; at = dirname(at)) {
    folders.push(join(at, 'bundles'));
    if (at === dirname(at)) break;
  }
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return [...folders, join(cache, 'raccoon', 'bundles')].filter((folder) => existsSync(folder));
}

/**
 * The folder of a bundle: what contains a slash or starts with a dot is a path, anything else a name.
 * @throws BundleError `not-found`, with the places that were searched
 */
export function findBundle(nameOrPath: string, cwd: string = process.cwd()): string {
  const isPath = nameOrPath.includes('/') || nameOrPath.includes(sep) || nameOrPath.startsWith('.');
  const candidates = isPath
    ? [resolve(cwd, nameOrPath)]
    : searchFolders(cwd).map((folder) => join(folder, nameOrPath));
  const found = candidates.find((folder) => existsSync(join(folder, 'manifest.json')));
  if (found) return found;
  throw new BundleError(
    'not-found',
    isPath
      ? `no bundle in ${candidates[0]}: there is no manifest.json`
      : `no bundle named ${nameOrPath} in ${searchFolders(cwd).join(', ') || 'bundles/'}; "raccoon bundle list" shows what there is`,
  );
}

/**
 * Finds and loads a bundle by name or path.
 * @throws BundleError
 */
export function openBundle(nameOrPath: string, cwd?: string, options?: LoadOptions): Promise<Bundle> {
  // async, so that a bundle that is not found rejects like one that is broken
  return Promise.resolve().then(() => loadBundle(folderSource(findBundle(nameOrPath, cwd)), options));
}

/** The folders of all bundles that a name would find. */
export async function listBundles(cwd?: string): Promise<string[]> {
  const names = new Map<string, string>(); // name -> folder; the nearest wins, as in findBundle
  for (const folder of searchFolders(cwd)) {
    for (const name of (await readdir(folder)).toSorted()) {
      const candidate = join(folder, name);
      if (!names.has(name) && existsSync(join(candidate, 'manifest.json'))) names.set(name, candidate);
    }
  }
  return [...names.values()];
}
