import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadBundle, type Bundle } from '../bundle.ts';
import { BundleError } from '../errors.ts';
import { edgeFiles, parseManifest, type Manifest } from '../manifest.ts';
import type { RemoteBundle } from '../remote.ts';
import { SIGNATURE_FILE, verifySignature, type PublicKey } from '../signature.ts';
import { folderSource } from './folder.ts';
import { activate, installedIn, locked, storeError, storeFolder } from './store.ts';

export interface PullOptions {
  /** Only a bundle that one of these has signed is installed; absent: any is. */
  trust?: readonly PublicKey[] | undefined;
  /** Encoders and coding tables alone: what an edge needs, less than half of the bytes. */
  edgeOnly?: boolean;
  /** Runs the new version on this machine; when it throws, the version before stays. */
  selfTest?: (bundle: Bundle) => Promise<void>;
  onProgress?: (doneBytes: number, totalBytes: number) => void;
  signal?: AbortSignal;
  /** Folder of all bundles; default: the user's cache. */
  store?: string;
}

export interface Pulled {
  readonly manifest: Manifest;
  /** Of this version. */
  readonly folder: string;
  /** Bytes that were fetched; files that the version before has too are copied. */
  readonly fetchedBytes: number;
  /** Whether another version was used before this call. */
  readonly switched: boolean;
}

/**
 * Fetches a bundle, checks signature and every hash, tries it, and only then makes it the one that its name finds. A
 * broken download goes on where it stopped; whatever goes wrong, the version that was used stays in use.
 * @throws BundleError
 */
export async function pullBundle(remote: RemoteBundle, options: PullOptions = {}): Promise<Pulled> {
  const { trust, edgeOnly = false, selfTest, signal, store = storeFolder() } = options;
  const manifestBytes = await remote.manifest(signal);
  const signature = await remote.signature(signal);
  if (trust) await verifySignature(signature, manifestBytes, trust, remote.origin);
  const manifest = parseManifest(new TextDecoder().decode(manifestBytes), remote.origin);
  const wanted = edgeOnly ? edgeFiles(manifest) : Object.keys(manifest.files);

  const home = join(store, manifest.name);
  await mkdir(home, { recursive: true }).catch((cause: unknown) => {
    throw storeError(home, cause);
  });
  return locked(home, async () => {
    const before = installedIn(home);
    const version = `${manifest.version}-${sha256(manifestBytes).slice(0, 12)}`;
    const folder = join(home, version);
    const partial = join(home, `partial-${version}`);
    const known = [folder, ...(before ? [join(home, before.active)] : [])];

    let fetchedBytes = 0;
    if (!(await hasAll(folder, wanted, manifest)))
      try {
        await mkdir(partial, { recursive: true });
        const totalBytes = wanted.reduce((sum, file) => sum + manifest.files[file]!.bytes, 0);
        let doneBytes = 0;
        for (const file of wanted) {
          if (!(await takeOver(known, partial, file, manifest))) {
            const at = doneBytes;
            fetchedBytes += await download(remote, partial, file, manifest, signal, (bytes) =>
              options.onProgress?.(at + bytes, totalBytes),
            );
          }
          doneBytes += manifest.files[file]!.bytes;
          options.onProgress?.(doneBytes, totalBytes);
        }
        if (signature) await writeFile(join(partial, SIGNATURE_FILE), signature);
        await writeFile(join(partial, 'manifest.json'), manifestBytes, { flush: true });
        if (selfTest) await passes(selfTest, partial, manifest);
        await replace(folder, partial);
      } catch (error) {
        if (isFileSystemError(error)) throw storeError(home, error);
        throw error;
      }
    const switched = before?.active !== version;
    if (switched) await activate(home, { active: version, previous: before?.active ?? null });
    await removeOthers(home, [version, (switched ? before?.active : before?.previous) ?? version]);
    return { manifest, folder, fetchedBytes, switched };
  });
}

async function hasAll(folder: string, wanted: readonly string[], manifest: Manifest): Promise<boolean> {
  if (!existsSync(join(folder, 'manifest.json'))) return false;
  for (const file of wanted) if (!(await isWhole(join(folder, file), file, manifest))) return false;
  return true;
}

/** Where the same version is there already, with fewer files or damaged ones, it makes way. */
async function replace(folder: string, by: string): Promise<void> {
  const old = `${by}-old`;
  if (existsSync(folder)) await rename(folder, old);
  await rename(by, folder);
  await rm(old, { recursive: true, force: true });
}

/** Copies a file that an installed version has, if it is the same and whole. */
async function takeOver(
  folders: readonly string[],
  partial: string,
  file: string,
  manifest: Manifest,
): Promise<boolean> {
  if (await isWhole(join(partial, file), file, manifest)) return true;
  for (const folder of folders) {
    if (!(await isWhole(join(folder, file), file, manifest))) continue;
    await copyFile(join(folder, file), join(partial, file));
    return true;
  }
  return false;
}

/** @returns bytes fetched */
async function download(
  remote: RemoteBundle,
  partial: string,
  file: string,
  manifest: Manifest,
  signal: AbortSignal | undefined,
  onBytes: (done: number) => void,
): Promise<number> {
  const { bytes: expected } = manifest.files[file]!;
  const path = join(partial, file);
  const resumed = await stat(path).then(
    ({ size }) => (size < expected ? size : 0),
    () => 0,
  );
  const handle = await open(path, resumed > 0 ? 'a' : 'w');
  let at = resumed;
  try {
    for await (const chunk of remote.fetch(file, resumed, signal)) {
      signal?.throwIfAborted();
      at += chunk.length;
      if (at > expected) break; // a larger file than the manifest promises is not stored
      await handle.writeFile(chunk);
      onBytes(at);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (await isWhole(path, file, manifest)) return at - resumed;
  if (at < expected) {
    throw new BundleError(
      'unreachable',
      `${remote.origin} ended ${file} after ${at} of ${expected} bytes: pull again, it goes on from there`,
    );
  }
  await rm(path);
  // what was there from an earlier pull may have been the damaged part
  if (resumed > 0) return download(remote, partial, file, manifest, signal, onBytes);
  throw new BundleError(
    at > expected ? 'file-size' : 'file-hash',
    `${remote.origin} gives another ${file} than its manifest names: tell whoever publishes it; nothing was installed`,
  );
}

async function passes(
  selfTest: (bundle: Bundle) => Promise<void>,
  folder: string,
  { name, version }: Manifest,
): Promise<void> {
  try {
    await selfTest(await loadBundle(folderSource(folder)));
  } catch (cause) {
    await rm(folder, { recursive: true, force: true });
    throw new BundleError(
      'self-test',
      `${name} ${version} does not work on this machine: ${(cause as Error).message}; nothing was changed`,
      { cause },
    );
  }
}

async function isWhole(path: string, file: string, { files }: Manifest): Promise<boolean> {
  const { bytes, sha256: expected } = files[file]!;
  const size = await stat(path).then(
    (entry) => entry.size,
    () => -1,
  );
  return size === bytes && sha256(await readFile(path)) === expected;
}

async function removeOthers(home: string, keep: readonly string[]): Promise<void> {
  for (const entry of await readdir(home)) {
    const isVersion = existsSync(join(home, entry, 'manifest.json')) || entry.startsWith('partial-');
    if (isVersion && !keep.includes(entry)) await rm(join(home, entry), { recursive: true, force: true });
  }
}

function isFileSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
