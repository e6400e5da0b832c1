import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { collect, httpBundle } from './remote.ts';

const CONTENT = Buffer.from('0123456789');
const servers: (() => void)[] = [];
afterEach(() => servers.splice(0).forEach((close) => close()));

function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () =>
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/model`),
    );
  });
}

async function text(base: string, file: string, offset: number): Promise<string> {
  return new TextDecoder().decode(await collect(httpBundle(base).fetch(file, offset), file));
}

test('from an offset on: of a server that can resume, and of one that cannot', async () => {
  const ranges: unknown[] = [];
  const resuming = await serve(({ headers }, response) => {
    ranges.push(headers.range);
    const from = Number(/\d+/.exec(headers.range ?? '0')![0]);
    if (from >= CONTENT.length) response.writeHead(416).end();
    else response.writeHead(from > 0 ? 206 : 200).end(CONTENT.subarray(from));
  });
  const simple = await serve((_, response) => response.end(CONTENT));
  for (const base of [resuming, simple]) {
    expect(await text(base, 'a.bin', 0)).toBe('0123456789');
    expect(await text(base, 'a.bin', 4)).toBe('456789');
    expect(await text(base, 'a.bin', 10)).toBe('');
  }
  expect(ranges).toEqual([undefined, 'bytes=4-', 'bytes=10-']);
});

test('the prefix is a folder, with or without its slash; headers go along', async () => {
  const seen: unknown[] = [];
  const base = await serve(({ url, headers }, response) => {
    seen.push([url, headers['authorization']]);
    if (url!.endsWith('.sig')) response.writeHead(404);
    response.end('{}');
  });
  const remote = httpBundle(base, { authorization: 'Bearer t' });
  expect(new TextDecoder().decode(await remote.manifest())).toBe('{}');
  expect(await httpBundle(`${base}/`).signature()).toBeUndefined();
  expect(seen).toEqual([
    ['/model/manifest.json', 'Bearer t'],
    ['/model/manifest.sig', undefined],
  ]);
});

test('file-missing and unreachable', async () => {
  const base = await serve(({ url, socket }, response) => {
    if (url === '/model/none') response.writeHead(404).end();
    else if (url === '/model/broken') response.writeHead(503).end();
    else {
      response.writeHead(200, { 'content-length': '100' });
      response.write('half', () => socket.destroy());
    }
  });
  await expect(text(base, 'none', 0)).rejects.toMatchObject({ code: 'file-missing' });
  await expect(text(base, 'broken', 0)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/answered 503/),
  });
  await expect(text(base, 'cut', 0)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/the link broke/),
  });
  await expect(httpBundle('http://127.0.0.1:1/').manifest()).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/cannot be reached: .*\. Is the address right/),
  });
});

test('file-size: a manifest of any length is not read', async () => {
  const base = await serve((_, response) => {
    for (let i = 0; i < 20; i++) response.write(Buffer.alloc(2 ** 20));
    response.end();
  });
  await expect(httpBundle(base).manifest()).rejects.toMatchObject({ code: 'file-size' });
});

test('the caller loses patience', async () => {
  const base = await serve(() => undefined);
  await expect(httpBundle(base).manifest(AbortSignal.timeout(20))).rejects.toMatchObject({
    name: 'TimeoutError',
  });
});
