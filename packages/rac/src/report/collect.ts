import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseResults, type ResultsFile } from '../results.ts';

/** A results file, and where it was. */
export interface CollectedFile {
  path: string;
  results: ResultsFile;
}

export interface CollectOptions {
  /** Whether files of different networks may stand side by side; default: no. Their data are always the same. */
  acrossBundles?: boolean;
}

/**
 * The results files among `paths`: files, and all that lie below folders, where other JSON is passed over.
 * @returns at least one, by path
 * @throws Error about a file that cannot be read, about none at all, or about files that cannot be compared
 */
export async function collectResults(
  paths: readonly string[],
  { acrossBundles = false }: CollectOptions = {},
): Promise<CollectedFile[]> {
  const files = new Map<string, CollectedFile>();
  for (const path of paths) {
    const found = await stat(path).catch((cause: unknown) => {
      throw new Error(
        `${path} does not exist: give files that raccoon eval --out wrote, or folders of them`,
        {
          cause,
        },
      );
    });
    const inside = found.isDirectory() ? await jsonBelow(path) : [path];
    for (const file of inside) {
      const value = await readJson(file, found.isDirectory());
      if (value !== undefined) files.set(file, { path: file, results: parseResults(value, file) });
    }
  }
  const all = [...files.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  if (all.length === 0) {
    throw new Error(
      `no results in ${paths.join(', ')}: raccoon eval --out <file> and raccoon sweep write them`,
    );
  }
  checkComparable(all, acrossBundles);
  return all;
}

async function jsonBelow(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => name.endsWith('.json')).map((name) => join(folder, name));
}

/** @returns undefined for a file found in a folder that does not say that it is a results file */
async function readJson(path: string, inFolder: boolean): Promise<unknown> {
  const text = await readFile(path, 'utf8');
  if (inFolder && !text.includes('"raccoon-results"')) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path} is not JSON: write it again with raccoon eval --out`, { cause });
  }
}

function checkComparable(files: readonly CollectedFile[], acrossBundles: boolean): void {
  const first = files[0]!;
  const dataOf = ({ results: { data, bundle } }: CollectedFile): string =>
    `${data.images} photos of ${data.name}${data.seed === null ? '' : `, seed ${data.seed}`}, ${bundle.classes} classes`;
  const bundleOf = ({ results: { bundle } }: CollectedFile): string => `${bundle.name} ${bundle.version}`;
  const differing = (of: (file: CollectedFile) => string): CollectedFile | undefined =>
    files.find((file) => of(file) !== of(first));
  const otherData = differing(dataOf);
  if (otherData) {
    throw new Error(
      `${first.path} is of ${dataOf(first)}, ${otherData.path} of ${dataOf(otherData)}: accuracies of different photos cannot be compared; make a report of each`,
    );
  }
  const otherPhotos = differing(({ results: { data } }) => data.id ?? first.results.data.id ?? '');
  if (otherPhotos) {
    throw new Error(
      `${first.path} and ${otherPhotos.path} are of other photos, both called ${first.results.data.name}: measure both with the same --data, --limit and --seed`,
    );
  }
  const otherBundle = differing(bundleOf);
  if (otherBundle && !acrossBundles) {
    throw new Error(
      `${first.path} is of ${bundleOf(first)}, ${otherBundle.path} of ${bundleOf(otherBundle)}: make a report of each, or say --across-bundles to compare networks as well`,
    );
  }
}
