import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { loadBundle, type Bundle, type LoadOptions } from '../bundle.ts';
import { BundleError } from '../errors.ts';
import { edgeFiles } from '../manifest.ts';
import type { FileSource } from '../source.ts';
import { installedIn, storeFolder } from './store.ts';

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
  return [...folders, storeFolder()].filter((folder) => existsSync(folder));
}

/** A folder that is a bundle, or the folders of its versions that one was pulled into, the one that is used first. */
function versionsOf(folder: string): string[] {
  if (existsSync(join(folder, 'manifest.json'))) return [folder];
  const installed = installedIn(folder);
  if (!installed) return [];
  const { active, previous } = installed;
  return [active, ...(previous === null ? [] : [previous])]
    .map((version) => join(folder, version))
    .filter((version) => existsSync(join(version, 'manifest.json')));
}

/** @throws BundleError `not-found`, with the places that were searched */
function findVersions(nameOrPath: string, cwd: string): string[] {
  const isPath = nameOrPath.includes('/') || nameOrPath.includes(sep) || nameOrPath.startsWith('.');
  const candidates = isPath
    ? [resolve(cwd, nameOrPath)]
    : searchFolders(cwd).map((folder) => join(folder, nameOrPath));
  for (const candidate of candidates) {
    const versions = versionsOf(candidate);
    if (versions.length > 0) return versions;
  }
  throw new BundleError(
    'not-found',
    isPath
      ? `no bundle in ${candidates[0]}: there is no manifest.json`
      : `no bundle named ${nameOrPath} in ${searchFolders(cwd).join(', ') || 'bundles/'}; "raccoon bundle list" shows what there is`,
  );
}

/**
 * The folder of a bundle: what contains a slash or starts with a dot is a path, anything else a name.
 * @throws BundleError `not-found`, with the places that were searched
 */
export function findBundle(nameOrPath: string, cwd: string = process.cwd()): string {
  return findVersions(nameOrPath, cwd)[0]!;
}

export interface OpenOptions extends LoadOptions {
  /** Told when a pulled bundle was damaged since, and the version before it is used in its place. */
  onFallback?: (damage: BundleError, used: Bundle) => void;
}

/**
 * Finds and loads a bundle by name or path. Of a pulled one an edge's files are checked at once, and where they are
 * damaged the version before it is used: an edge with no way to its publisher still has an answer.
 * @throws BundleError
 */
export async function openBundle(
  nameOrPath: string,
  cwd: string = process.cwd(),
  { onFallback, ...options }: OpenOptions = {},
): Promise<Bundle> {
  const [folder, ...earlier] = findVersions(nameOrPath, cwd);
  if (earlier.length === 0) return loadBundle(folderSource(folder!), options);
  try {
    return await openWhole(folder!, options);
  } catch (damage) {
    for (const other of earlier) {
      const bundle = await openWhole(other, options).catch(() => undefined);
      if (!bundle) continue;
      onFallback?.(damage as BundleError, bundle);
      return bundle;
    }
    throw damage;
  }
}

async function openWhole(folder: string, options: LoadOptions): Promise<Bundle> {
  const bundle = await loadBundle(folderSource(folder), options);
  for (const file of edgeFiles(bundle.manifest)) await bundle.read(file);
  return bundle;
}

/** The folders of all bundles that a name would find. */
export async function listBundles(cwd?: string): Promise<string[]> {
  const names = new Map<string, string>(); // name -> folder; the nearest wins, as in findBundle
  for (const folder of searchFolders(cwd)) {
    for (const name of (await readdir(folder)).toSorted()) {
      const [version] = names.has(name) ? [] : versionsOf(join(folder, name));
      if (version) names.set(name, version);
    }
  }
  return [...names.values()];
}
