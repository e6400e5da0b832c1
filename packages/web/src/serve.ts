import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebError } from './errors.ts';

/** The built page. */
export const SITE: string = fileURLToPath(new URL('../dist/site/', import.meta.url));

/** Answers one request for a file of the page, or says that there is none. */
export type PageHandler = (request: IncomingMessage, response: ServerResponse) => void;

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
};

/** The page's own files are all that it may load. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self'",
  "style-src 'self'",
  "font-src 'self'",
  "img-src 'self' blob:",
  "media-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': POLICY,
  // cross-origin isolation: without it a browser gives WebAssembly no threads
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(self), microphone=(), geolocation=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** Named by their content. */
const FOR_EVER = 'public, max-age=31536000, immutable';
/** Asked for each time; not sent again if it is the same. */
const ASK = 'no-cache';

/** By preference; the file's ending beside it. */
const ENCODINGS = { br: '.br', gzip: '.gz' } as const;

interface SiteFile {
  readonly type: string;
  readonly etag: string;
  readonly caching: string;
  readonly bytes: Uint8Array;
  readonly compressed: Readonly<Partial<Record<keyof typeof ENCODINGS, Uint8Array>>>;
}

/**
 * The page, in memory.
 * @throws WebError `not-built`
 */
export async function openPage(folder: string = SITE): Promise<PageHandler> {
  const files = await readSite(folder);
  return (request, response) => {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    const { pathname } = new URL(request.url ?? '/', 'http://page');
    const file = files.get(pathname === '/' ? '/index.html' : pathname);
    if (!file) {
      response.writeHead(404, { 'content-type': TYPES['.txt'] }).end('There is no such file.\n');
      return;
    }
    const { type, etag, caching, bytes } = file;
    response.setHeader('cache-control', caching).setHeader('etag', etag).setHeader('vary', 'accept-encoding');
    if (request.headers['if-none-match'] === etag) {
      response.writeHead(304).end();
      return;
    }
    const encoding = encodingFor(request, file);
    const body = encoding ? file.compressed[encoding]! : bytes;
    if (encoding) response.setHeader('content-encoding', encoding);
    response.writeHead(200, { 'content-type': type, 'content-length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  };
}

async function readSite(folder: string): Promise<ReadonlyMap<string, SiteFile>> {
  const names = await readdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw notBuilt(folder, cause);
  });
  if (!names.includes('index.html')) throw notBuilt(folder);
  const contents = new Map<string, Uint8Array>();
  for (const name of names) {
    if (extname(name)) contents.set(`/${name.replaceAll(sep, '/')}`, await readFile(join(folder, name)));
  }
  const files = new Map<string, SiteFile>();
  for (const [path, bytes] of contents) {
    const type = TYPES[extname(path)];
    if (type === undefined) continue; // a compressed one
    const compressed = Object.entries(ENCODINGS).flatMap(([encoding, ending]) => {
      const smaller = contents.get(path + ending);
      return smaller ? [[encoding, smaller]] : [];
    });
    files.set(path, {
      type,
      bytes,
      etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`,
      caching: path.startsWith('/assets/') ? FOR_EVER : ASK,
      compressed: Object.fromEntries(compressed) as SiteFile['compressed'],
    });
  }
  return files;
}

function encodingFor(request: IncomingMessage, file: SiteFile): keyof typeof ENCODINGS | undefined {
  const header = request.headers['accept-encoding'] ?? '';
  const accepted = new Set(header.split(',').map((one) => one.split(';')[0]!.trim()));
  return (['br', 'gzip'] as const).find((one) => accepted.has(one) && file.compressed[one]);
}

function notBuilt(folder: string, cause?: unknown): WebError {
  const message = `${folder} has no page: \`npm run build\` makes it`;
  return new WebError('not-built', message, cause === undefined ? {} : { cause });
}
