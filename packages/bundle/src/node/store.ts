import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { BundleError } from '../errors.ts';

// The user's cache holds several versions of a bundle, each in a folder of its own that is never changed, and one small
// file that says which is used:
//   <cache>/raccoon/bundles/<name>/active.json
//   <cache>/raccoon/bundles/<name>/<version>-<first digits of the manifest's SHA-256>/manifest.json ...
// Renaming that file is the switch: whoever opens the bundle finds the one version or the other, whole.

const ACTIVE_FILE = 'active.json';

const folderName = z.string().regex(/^\d+\.\d+\.\d+-[0-9a-f]{12}$/);
const activeSchema = z.strictObject({
  format: z.literal('raccoon-installed-bundle'),
  formatVersion: z.literal(1),
  active: folderName,
  /** The last good one before it, to go back to. */
  previous: folderName.nullable(),
});

export interface Installed {
  /** Names of folders in the bundle's own. */
  readonly active: string;
  readonly previous: string | null;
}

/** Where fetched bundles are kept: `$XDG_CACHE_HOME/raccoon/bundles`, or in `~/.cache`. */
export function storeFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(cache, 'raccoon', 'bundles');
}

/**
 * What is installed in `folder`, the folder of one bundle's versions.
 * @returns undefined where nothing is
 * @throws BundleError `store` when what says so is damaged
 */
export function installedIn(folder: string): Installed | undefined {
  const file = join(folder, ACTIVE_FILE);
  if (!existsSync(file)) return undefined;
  try {
    return activeSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new BundleError('store', `${file} is damaged: remove it, and pull the bundle again`, { cause });
  }
}

/** Makes `active` the version that is used; atomic, also when the power fails. @throws BundleError `store` */
export async function activate(folder: string, { active, previous }: Installed): Promise<void> {
  const json = JSON.stringify({ format: 'raccoon-installed-bundle', formatVersion: 1, active, previous });
  await writeAtomically(join(folder, ACTIVE_FILE), `${json}\n`);
}

/**
 * Goes back to the version before.
 * @returns what is used now
 * @throws BundleError `store` when there is none
 */
export async function rollBack(name: string, store: string = storeFolder()): Promise<Installed> {
  const folder = join(store, name);
  const now = installedIn(folder);
  if (!now) throw new BundleError('store', `${name} was not pulled: there is nothing in ${folder}`);
  if (now.previous === null || !existsSync(join(folder, now.previous, 'manifest.json'))) {
    throw new BundleError('store', `there is no version of ${name} before ${now.active} to go back to`);
  }
  const back = { active: now.previous, previous: now.active };
  await activate(folder, back);
  return back;
}

/**
 * One process at a time works on what `folder` holds; a lock whose owner is gone counts for nothing.
 * @throws BundleError `store`
 */
export async function locked<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const file = join(folder, 'lock');
  for (let attempt = 0; ; attempt++) {
    try {
      const lock = await open(file, 'wx');
      await lock.writeFile(String(process.pid));
      await lock.close();
      break;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw storeError(folder, cause);
      const owner = Number(await readFile(file, 'utf8').catch(() => ''));
      if (attempt > 0 || isAlive(owner)) {
        throw new BundleError(
          'store',
          `process ${owner} is working on ${folder}: wait for it, or remove ${file}`,
          { cause },
        );
      }
      await rm(file, { force: true });
    }
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}

/** What the file system said, with where. */
export function storeError(folder: string, cause: unknown): BundleError {
  return new BundleError(
    'store',
    `cannot write in ${folder}: ${(cause as Error).message}. Is it yours, and is there room?`,
    { cause },
  );
}

/** Written beside it, flushed, and renamed: the old file or the new one, never half of it. */
async function writeAtomically(file: string, text: string): Promise<void> {
  const beside = `${file}.${randomUUID()}`;
  try {
    const handle = await open(beside, 'wx');
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
  } catch (cause) {
    await rm(beside, { force: true });
    throw storeError(file, cause);
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid < 1) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
