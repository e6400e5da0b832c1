import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TransportError } from '../errors.ts';
import type { BundleInfo } from '../messages.ts';

/** What a bundle's manifest says of one of its files. */
interface FileFacts {
  readonly bytes: number;
  readonly sha256: string;
}

/** How a file is given to who asked for it. */
export interface FileAnswer {
  readonly status: 200 | 206 | 304 | 416;
  readonly headers: Readonly<Record<string, string>>;
  /** The part that is wanted: from byte `from`, so many; Infinity for all there are. */
  readonly from: number;
  readonly bytes: number;
}

const YEAR_SECONDS = 31_536_000;

const factsOfManifests = new WeakMap<Uint8Array, ReadonlyMap<string, FileFacts>>();

/**
 * What to answer a GET of one file. Asked for with its hash (`?sha256=`) it never changes, and whoever passes it on may keep
 * it; asked for by its name alone it may be another after the next update, and the hash is its mark.
 * @param wanted the SHA-256 that was asked for
 * @param shared whether everyone may have it
 * @throws TransportError 'not-found' when the file has another hash by now
 */
export function fileAnswer(
  info: BundleInfo,
  file: string,
  wanted: string | null,
  shared: boolean,
  { headers }: Pick<IncomingMessage, 'headers'>,
): FileAnswer {
  const facts = factsOf(info.manifest).get(file);
  if (wanted !== null && facts?.sha256 !== wanted) {
    const message = `${info.name} ${info.version} has no ${file} with that SHA-256: ask for its manifest again`;
    throw new TransportError('not-found', message);
  }
  const caching = wanted === null ? 'no-cache' : `max-age=${YEAR_SECONDS}, immutable`;
  const own: Record<string, string> = {
    'content-type': 'application/octet-stream',
    'cache-control': `${shared ? 'public' : 'private'}, ${caching}`,
  };
  if (!facts) return { status: 200, headers: own, from: 0, bytes: Infinity }; // a signature: no manifest lists it
  const { bytes, sha256 } = facts;
  own['etag'] = `"${sha256}"`;
  own['accept-ranges'] = 'bytes';
  if (headers['if-none-match']?.includes(own['etag']))
    return { status: 304, headers: own, from: 0, bytes: 0 };
  const range = rangeOf(headers, own['etag']);
  if (!range) return { status: 200, headers: withLength(own, bytes), from: 0, bytes };
  const { from, to } = { from: range.from, to: Math.min(range.to, bytes - 1) };
  if (from >= bytes) {
    const unsatisfied = { ...withLength(own, 0), 'content-range': `bytes */${bytes}` };
    return { status: 416, headers: unsatisfied, from: 0, bytes: 0 };
  }
  const part = { ...withLength(own, to + 1 - from), 'content-range': `bytes ${from}-${to}/${bytes}` };
  return { status: 206, headers: part, from, bytes: to + 1 - from };
}

/** A mark of something small, for a browser that asks whether it has changed. */
export function etagOf(bytes: Uint8Array): string {
  return `"${createHash('sha256').update(bytes).digest('hex')}"`;
}

function withLength(headers: Readonly<Record<string, string>>, bytes: number): Record<string, string> {
  return { ...headers, 'content-length': String(bytes) };
}

/** One range from a byte on. What is more complicated is answered with the whole file, as may be done. */
function rangeOf(
  headers: IncomingMessage['headers'],
  etag: string,
): { readonly from: number; readonly to: number } | undefined {
  const [, from, to] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(headers.range ?? '') ?? [];
  const condition = headers['if-range'];
  if (from === undefined || (condition !== undefined && condition !== etag)) return undefined;
  const last = to ? Number(to) : Infinity;
  return last < Number(from) ? undefined : { from: Number(from), to: last };
}

/** The manifest is the service's own, so it is what its schema says. */
function factsOf(manifest: Uint8Array): ReadonlyMap<string, FileFacts> {
  const known = factsOfManifests.get(manifest);
  if (known) return known;
  const { files = {} } = JSON.parse(Buffer.from(manifest).toString()) as {
    files?: Record<string, FileFacts>;
  };
  const facts = new Map(Object.entries(files));
  factsOfManifests.set(manifest, facts);
  return facts;
}
