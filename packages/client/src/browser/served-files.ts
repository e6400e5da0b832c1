/// <reference lib="dom" />
import { BundleError, parseManifest, type FileSource, type Manifest } from '@raccoon/bundle';
import { errorTable, TransportError } from '@raccoon/transport';
import type { FetchTransport } from '@raccoon/transport/fetch';

/** Addresses of what is kept: no network ever sees them. A file's is its hash, so every version of a bundle may share it. */
const KEPT = 'https://raccoon.invalid/';
const MANIFESTS = `${KEPT}manifest/`;
const FILES = `${KEPT}sha256/`;

/**
 * The files of the bundle that a cloud serves, from the browser's cache where they are there and whole. Without a network
 * the manifest is the last one that this cloud gave.
 * @param name empty: the bundle that the cloud serves first
 * @param origin the cloud's address
 * @throws TransportError, BundleError `not-found`
 */
export async function servedFiles(
  transport: FetchTransport,
  name: string,
  origin: string,
  cache: Cache | undefined,
): Promise<FileSource> {
  const manifestKey = `${MANIFESTS}${encodeURIComponent(origin)}/${encodeURIComponent(name)}`;
  const bytes = await readManifest();
  const manifest = parseManifest(new TextDecoder().decode(bytes), origin);

  async function readManifest(): Promise<Uint8Array<ArrayBuffer>> {
    try {
      const info = await transport.getBundle(name);
      const fresh = new Uint8Array(info.manifest);
      await keep(manifestKey, fresh);
      if (cache) await forgetOld(cache);
      return fresh;
    } catch (cause) {
      const error = TransportError.from(cause);
      const kept = errorTable[error.code].retry ? await cache?.match(manifestKey) : undefined;
      if (!kept) throw error;
      return new Uint8Array(await kept.arrayBuffer());
    }
  }

  /** A full disk or a forbidden cache only means that it is fetched again. */
  async function keep(key: string, contents: Uint8Array<ArrayBuffer>): Promise<void> {
    await cache?.put(key, new Response(contents)).catch(() => undefined);
  }

  async function fetchFile(file: string, { bytes: size, sha256 }: Listed): Promise<Uint8Array<ArrayBuffer>> {
    try {
      const whole = new Uint8Array(size);
      let at = 0;
      for await (const chunk of transport.fetchFile(manifest.name, file, 0, sha256)) {
        if (chunk.length > size - at)
          throw new BundleError('file-size', `${origin}: ${file} has more than ${size} bytes`);
        whole.set(chunk, at);
        at += chunk.length;
      }
      return whole.subarray(0, at);
    } catch (cause) {
      if (!(cause instanceof TransportError)) throw cause;
      const code = cause.code === 'not-found' ? 'file-missing' : 'unreachable';
      throw new BundleError(code, `${origin}: ${file} of ${manifest.name}: ${cause.message}`, { cause });
    }
  }

  return {
    origin,
    async read(file) {
      if (file === 'manifest.json') return bytes;
      const expected = expectedOf(manifest, file);
      if (!expected) throw new BundleError('file-missing', `${origin}: the manifest lists no file ${file}`);
      const key = FILES + expected.sha256;
      const kept = await cache?.match(key);
      if (kept) {
        const contents = new Uint8Array(await kept.arrayBuffer());
        if ((await sha256Of(contents)) === expected.sha256) return contents;
        await cache?.delete(key); // damaged since
      }
      const fetched = await fetchFile(file, expected);
      // what is kept is whole; what is not, whoever loads the bundle says so
      if ((await sha256Of(fetched)) === expected.sha256) await keep(key, fetched);
      return fetched;
    },
  };
}

/** Drops the files of bundles that no cloud serves any more, as far as is known here. */
async function forgetOld(cache: Cache): Promise<void> {
  const keys = await cache.keys();
  const listed = new Set<string>();
  for (const key of keys.filter(({ url }) => url.startsWith(MANIFESTS))) {
    const kept = await cache.match(key);
    const { files } = ((await kept?.json().catch(() => undefined)) ?? { files: {} }) as Pick<
      Manifest,
      'files'
    >;
    for (const { sha256 } of Object.values(files)) listed.add(FILES + sha256);
  }
  for (const key of keys) if (key.url.startsWith(FILES) && !listed.has(key.url)) await cache.delete(key);
}

/** What a manifest says of a file. */
type Listed = Manifest['files'][string];

function expectedOf({ files }: Manifest, file: string): Listed | undefined {
  return Object.hasOwn(files, file) ? files[file] : undefined;
}

async function sha256Of(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
