import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { WebError } from './errors.ts';
import { openPage } from './serve.ts';

const SCRIPT = 'export const noise = 1;\n'.repeat(100);
let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-page-'));
  mkdirSync(join(folder, 'assets'));
  writeFileSync(join(folder, 'index.html'), '<!doctype html>');
  writeFileSync(join(folder, 'assets/main-1234.js'), SCRIPT);
  writeFileSync(join(folder, 'assets/main-1234.js.br'), brotliCompressSync(SCRIPT));
  writeFileSync(join(folder, 'assets/main-1234.js.gz'), gzipSync(SCRIPT));
  return () => rmSync(folder, { recursive: true });
});

/** The page's server; `fetch` undoes what is compressed. */
async function serve(): Promise<(path: string, init?: RequestInit) => Promise<Response>> {
  const server = createServer(await openPage(folder));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init);
}

test('the page comes under a policy that lets it load its own files only, isolated from other origins', async () => {
  const get = await serve();
  const response = await get('/?from=somewhere');
  expect(response.status).toBe(200);
  expect(await response.text()).toBe('<!doctype html>');
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': expect.stringMatching(
      /^default-src 'none'; script-src 'self' 'wasm-unsafe-eval';/,
    ),
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-cache',
  });
});

test('a file that is named by its content is kept for ever', async () => {
  const get = await serve();
  const { headers } = await get('/assets/main-1234.js');
  expect(headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
});

test('what somebody has already is not sent again', async () => {
  const get = await serve();
  const etag = (await get('/')).headers.get('etag')!;
  const again = await get('/', { headers: { 'if-none-match': etag } });
  expect(again.status).toBe(304);
  expect(await again.text()).toBe('');
});

test.each([
  { accepts: 'gzip, deflate, br, zstd', encoding: 'br' },
  { accepts: 'gzip;q=1.0', encoding: 'gzip' },
  { accepts: 'identity', encoding: null },
])('to who accepts "$accepts" it comes as $encoding', async ({ accepts, encoding }) => {
  const get = await serve();
  const response = await get('/assets/main-1234.js', { headers: { 'accept-encoding': accepts } });
  expect(response.headers.get('content-encoding')).toBe(encoding);
  expect(response.headers.get('vary')).toBe('accept-encoding');
  expect(await response.text()).toBe(SCRIPT);
});

test.each(['/nothing.js', '/assets', '/../serve.ts', '/%2e%2e/secret', '/assets/main-1234.js.br'])(
  '%s is not there',
  async (path) => {
    const get = await serve();
    const response = await get(path);
    expect(response.status).toBe(404);
    expect(response.headers.get('content-security-policy')).not.toBeNull();
  },
);

test('HEAD has no body, and nothing else is answered', async () => {
  const get = await serve();
  const head = await get('/', { method: 'HEAD' });
  expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '15', '']);
  const post = await get('/', { method: 'POST', body: 'x' });
  expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
});

test.each([() => join(folder, 'nowhere'), () => join(folder, 'assets')])(
  'without a built page it says how to build it',
  async (path) => {
    const error: unknown = await openPage(path()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(WebError);
    expect(error).toMatchObject({
      code: 'not-built',
      message: expect.stringMatching(/has no page: `npm run build` makes it/),
    });
  },
);
