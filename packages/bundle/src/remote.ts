import { BundleError } from './errors.ts';
import { SIGNATURE_FILE } from './signature.ts';

/** A place that a bundle is fetched from: an HTTP prefix, a cloud service. Reads bytes, checks nothing. */
export interface RemoteBundle {
  /** For messages: an address. */
  readonly origin: string;
  /** `manifest.json`, byte for byte. @throws BundleError `unreachable`, `file-missing` */
  manifest(signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /** `manifest.sig`; absent where nobody has signed it. @throws BundleError `unreachable` */
  signature(signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** A file from byte `offset` on, in chunks. @throws BundleError `unreachable`, `file-missing` */
  fetch(file: string, offset: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

/** More is not a manifest or a signature. */
const MAX_SMALL_BYTES = 16 * 1024 * 1024;

/**
 * A bundle's files under an HTTP prefix, as any static server gives them.
 * @param prefix `https://host/path/to/bundle/`
 * @param headers with every request, for instance `authorization`
 */
export function httpBundle(prefix: string, headers: Readonly<Record<string, string>> = {}): RemoteBundle {
  const base = prefix.endsWith('/') ? prefix : `${prefix}/`;

  async function get(file: string, offset: number, signal?: AbortSignal): Promise<Response> {
    const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    try {
      return await fetch(new URL(file, base), { headers: { ...headers, ...range }, signal: signal ?? null });
    } catch (cause) {
      signal?.throwIfAborted();
      throw new BundleError(
        'unreachable',
        `${base} cannot be reached: ${reasonOf(cause)}. Is the address right, and this machine online?`,
        { cause },
      );
    }
  }

  async function* chunks(file: string, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const response = await get(file, offset, signal);
    if (response.status === 404) throw new BundleError('file-missing', `${base}${file} is not there (404)`);
    if (response.status === 416) return; // all of it was there before
    if (!response.ok || !response.body) {
      throw new BundleError('unreachable', `${base}${file}: the server answered ${response.status}`);
    }
    // a server that cannot resume sends all of it
    let skip = response.status === 206 ? 0 : offset;
    try {
      for await (const chunk of response.body) {
        const wanted: Uint8Array = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - wanted.length;
        if (wanted.length > 0) yield wanted;
      }
    } catch (cause) {
      signal?.throwIfAborted();
      throw new BundleError('unreachable', `${base}${file}: the link broke: ${reasonOf(cause)}`, { cause });
    }
  }

  return {
    origin: base,
    manifest: (signal) => collect(chunks('manifest.json', 0, signal), `${base}manifest.json`),
    async signature(signal) {
      try {
        return await collect(chunks(SIGNATURE_FILE, 0, signal), `${base}${SIGNATURE_FILE}`);
      } catch (error) {
        if (error instanceof BundleError && error.code === 'file-missing') return undefined;
        throw error;
      }
    },
    fetch: chunks,
  };
}

/**
 * All chunks of a small file in one piece.
 * @throws BundleError `file-size` above 16 MiB
 */
export async function collect(
  chunks: AsyncIterable<Uint8Array>,
  origin: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > MAX_SMALL_BYTES) {
      throw new BundleError(
        'file-size',
        `${origin} has more than ${MAX_SMALL_BYTES} bytes: it is no bundle's`,
      );
    }
    parts.push(chunk);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** `fetch` says "fetch failed" and hides why in its cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message ? cause.message : message;
}
