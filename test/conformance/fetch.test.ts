import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type RequestListener } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { describe, expect, onTestFinished, test } from 'vitest';
import { errorResponse, errorTable, isErrorCode, TransportError } from '@raccoon/transport';
import type { BundleInfo } from '@raccoon/transport';
import { connectFetch, type FetchOptions, type FetchTransport } from '@raccoon/transport/fetch';
import { serveHttp, type HttpServer, type HttpServerOptions } from '@raccoon/transport/node';
import { root } from '../helpers/paths.ts';
import { Authority } from './certificates.ts';
import { aborted, good, hello, ManualService, payload, portOf, read, readAll, settle } from './support.ts';

// What is the HTTP endpoint's own; what it has in common with the other transports is in transport.test.ts.

const PROTOBUF = 'application/x-protobuf';

const failure = (code: string, message: RegExp): object =>
  expect.objectContaining({ name: 'TransportError', code, message: expect.stringMatching(message) });

async function serve(
  options: Partial<HttpServerOptions> = {},
  service = new ManualService(),
): Promise<{ server: HttpServer; service: ManualService; base: string }> {
  const server = await serveHttp(service, { listen: '127.0.0.1:0', ...options });
  onTestFinished(() => server.close());
  return { server, service, base: `http://${server.address}` };
}

function client(base: string, options?: FetchOptions): FetchTransport {
  const transport = connectFetch(base, options);
  onTestFinished(() => transport.close());
  return transport;
}

/** A server that is no Raccoon cloud. */
async function stranger(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${portOf(server.address())}`;
}

/** What a browser asks before a page of `origin` may call. */
const preflight = (base: string, origin: string): Promise<Response> =>
  fetch(`${base}/raccoon/v1/infer`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST' },
  });

/** What a POST with these headers is answered when its body never comes. */
async function headersOnly(base: string, headers: Record<string, string>): Promise<IncomingMessage> {
  const call = request(`${base}/raccoon/v1/infer`, { method: 'POST', headers });
  call.on('error', () => {});
  call.flushHeaders();
  onTestFinished(() => void call.destroy());
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  return answer;
}

const authenticate: HttpServerOptions['authenticate'] = ({ token }) => {
  if (token === 'secret') return { name: 'camera' };
  throw new TransportError('unauthenticated', 'who are you?');
};

const says =
  (status: number, type = 'text/html', body: string | Buffer = '<p>'): RequestListener =>
  (_, response) =>
    response.writeHead(status, { 'content-type': type }).end(body);

describe('CORS', () => {
  test('origins on the list may call, others are not told that they may', async () => {
    const { base } = await serve({ allowOrigins: ['https://app.example', 'http://localhost:5173'] });
    for (const origin of ['https://app.example', 'http://localhost:5173']) {
      const asked = await preflight(base, origin);
      expect(asked.status).toBe(204);
      expect(asked.headers.get('access-control-allow-origin')).toBe(origin);
      expect(asked.headers.get('access-control-allow-headers')).toMatch(/authorization, content-type/);
      const got = await fetch(`${base}/raccoon/v1/bundle`, { headers: { origin } });
      expect(got.headers.get('access-control-allow-origin')).toBe(origin);
      expect(got.headers.get('vary')).toBe('origin');
    }
    const refused = await preflight(base, 'https://app.example.evil.example');
    expect(refused.headers.has('access-control-allow-origin')).toBe(false);
    expect(refused.headers.get('vary')).toBe('origin');
  });

  test('without a list no other origin may; with * all', async () => {
    const none = await preflight((await serve()).base, 'https://app.example');
    expect(none.headers.has('access-control-allow-origin')).toBe(false);
    const all = await preflight((await serve({ allowOrigins: ['*'] })).base, 'https://app.example');
    expect(all.headers.get('access-control-allow-origin')).toBe('*');
  });

  test('an error can be read by an allowed page, too', async () => {
    const { base } = await serve({ allowOrigins: ['https://app.example'] });
    const answer = await fetch(`${base}/raccoon/v1/bundle/other`, {
      headers: { origin: 'https://app.example' },
    });
    expect(answer.status).toBe(404);
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.example');
  });

  test('what a page may send without leave is not taken for a message', async () => {
    const { base, service } = await serve();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
      const headers = { 'content-type': type };
      const answer = await fetch(`${base}/raccoon/v1/infer`, { method: 'POST', headers, body: 'x' });
      expect(answer.status).toBe(400);
    }
    expect(service.calls).toEqual([]);
  });

  test.each(['app.example', 'https://app.example/', 'https://app.example/path', 'ftp://app.example', ''])(
    '"%s" is no origin',
    async (origin) => {
      await expect(serve({ allowOrigins: [origin] })).rejects.toEqual(failure('bad-request', /an origin is/));
    },
  );
});

describe('errors', () => {
  test('every code has its status, and comes back as itself', async () => {
    const { base, service } = await serve();
    const stream = await client(base).openStream(hello);
    for (const [i, [code, { http }]] of Object.entries(errorTable).entries()) {
      if (!isErrorCode(code) || code === 'draining') continue; // which ends the stream
      const id = i + 1;
      await stream.send({ id, payload: payload(1) });
      (await service.call(id)).answer(errorResponse(id, code, 'später', 40));
      expect(await read(stream)).toMatchObject({ id, error: { code, message: 'später', retryAfterMs: 40 } });
      expect(http).toBeGreaterThanOrEqual(400);
    }
  });

  test('a status and when to come back are there for those who do not read protobuf', async () => {
    const { base, service } = await serve();
    service.getBundle = () => {
      throw new TransportError('overloaded', 'busy', { retryAfterMs: 1500 });
    };
    const answer = await fetch(`${base}/raccoon/v1/bundle`);
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('2');
    expect(answer.headers.get('content-type')).toBe(PROTOBUF);
    await expect(client(base).getBundle()).rejects.toMatchObject({ code: 'overloaded', retryAfterMs: 1500 });
  });

  test.each([
    ['GET', 'infer', 400],
    ['POST', 'bundle', 400],
    ['POST', 'infer/1', 404],
    ['POST', 'inference', 404],
    ['GET', 'bundle/test/tables.bin/more', 404],
    ['GET', 'bundle/test/passwd', 404],
    ['GET', 'bundle/test/..%2F..%2Fetc%2Fpasswd', 404],
    ['GET', 'bundle/test/%ff', 400],
    ['GET', 'bundle/other/tables.bin', 404],
  ])('%s %s is %d', async (method, path, status) => {
    const { base, service } = await serve();
    const answer = await fetch(`${base}/raccoon/v1/${path}`, { method });
    expect(answer.status).toBe(status);
    expect(service.filesOpen).toBe(0);
  });

  test.each([
    ['hello', Buffer.from([0x0a, 0x02, 0x08, 0x01])], // a request
    ['infer', Buffer.from([0x1a, 0x02, 0x08, 0x01])], // a Hello
    ['infer', Buffer.from([0xff])],
    ['infer', Buffer.alloc(0)],
  ])('a message that is not for %s', async (path, body) => {
    const { base, service } = await serve();
    const refused: string[] = [];
    Object.assign(service, { refused: (code: string) => refused.push(code) });
    const headers = { 'content-type': PROTOBUF };
    const answer = await fetch(`${base}/raccoon/v1/${path}`, { method: 'POST', headers, body });
    expect(answer.status).toBe(400);
    expect(refused).toEqual(['bad-request']);
    expect(service.calls).toEqual([]);
  });

  test('slices go over a stream that carries them', async () => {
    const { base } = await serve();
    const stream = await client(base).openStream(hello);
    await stream.send({ id: 1, payload: payload(1), moreSlices: true });
    expect(await read(stream)).toMatchObject({ id: 1, error: { code: 'bad-request' } });
  });
});

describe('the body limit', () => {
  test('a length that is too large is refused before a byte of it', async () => {
    const { base } = await serve();
    const answer = await headersOnly(base, { 'content-type': PROTOBUF, 'content-length': '1000000000' });
    expect(answer.statusCode).toBe(413);
    expect(answer.headers.connection).toBe('close');
  });

  test('a body without a length is read no further than it may be', async () => {
    const { base, service } = await serve({ maxPayloadBytes: 1000 });
    const body = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(100_000));
        if (++pulled === 20) controller.close();
      },
    });
    let pulled = 0;
    const headers = { 'content-type': PROTOBUF };
    const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit;
    const answer = await fetch(`${base}/raccoon/v1/infer`, init);
    expect(answer.status).toBe(413);
    expect(service.calls).toEqual([]);
  });

  test('a Hello is a small message, too', async () => {
    const { base } = await serve({ maxPayloadBytes: 1000 });
    const codecIds = Array.from({ length: 1000 }, () => '0123456789ab');
    await expect(client(base).openStream({ ...hello, codecIds })).rejects.toEqual(
      failure('payload-too-large', /more than 2024 bytes/),
    );
  });
});

describe('who calls', () => {
  test('a token opens every call, and names the caller', async () => {
    const { base, service } = await serve({ authenticate });
    let asked = 0;
    const token = (): string => {
      asked++;
      return 'secret';
    };
    const transport = client(base, { token });
    await transport.openStream(hello);
    await transport.getBundle();
    for await (const chunk of transport.fetchFile('test', 'tables.bin')) expect(chunk).toBeDefined();
    expect(asked).toBe(3);
    expect(new Set(Object.values(service.callers).map(({ name }) => name))).toEqual(new Set(['camera']));
  });

  test.each([undefined, 'other'])('token %s', async (token) => {
    const { base, service } = await serve({ authenticate });
    const transport = client(base, token === undefined ? {} : { token });
    const problem = failure('unauthenticated', /who are you/);
    await expect(transport.openStream(hello)).rejects.toEqual(problem);
    await expect(transport.getBundle()).rejects.toEqual(problem);
    await expect(transport.fetchFile('test', 'tables.bin')[Symbol.asyncIterator]().next()).rejects.toEqual(
      problem,
    );
    expect(await transport.inferOnce({ id: 1, payload: payload(1) })).toMatchObject({
      error: { code: 'unauthenticated' },
    });
    expect(service.calls).toEqual([]);
    const answer = await fetch(`${base}/raccoon/v1/bundle`);
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer');
  });

  test('a token is not sent where it could be read', () => {
    expect(() => connectFetch('http://cloud.example', { token: 'secret' })).toThrow(/use https/);
    for (const base of [
      'https://cloud.example',
      'http://localhost:8080',
      'http://127.0.0.1:80',
      'http://[::1]:80',
    ]) {
      expect(() => connectFetch(base, { token: 'secret' })).not.toThrow();
    }
  });

  test('over TLS', async () => {
    const authority = new Authority();
    onTestFinished(() => authority.remove());
    const { server } = await serve({ tls: authority.issue('cloud', { names: ['localhost'] }) });
    const ca = readFileSync(authority.ca);
    const call = tlsRequest({
      host: '127.0.0.1',
      servername: 'localhost',
      port: server.port,
      path: '/raccoon/v1/bundle',
      ca,
    });
    call.end();
    const [answer] = (await once(call, 'response')) as [IncomingMessage];
    expect(answer.statusCode).toBe(200);
    answer.resume();
    expect(server.connections).toBe(1);
  });
});

describe('files', () => {
  /** Its manifest lists its file, as a real one's does. */
  class ListingService extends ManualService {
    readonly sha256 = createHash('sha256').update(this.file).digest('hex');
    readonly #manifest = Buffer.from(
      JSON.stringify({ files: { 'tables.bin': { bytes: this.file.length, sha256: this.sha256 } } }),
    );

    override getBundle(): BundleInfo {
      return { name: 'test', version: '1.2.3', manifest: this.#manifest };
    }
  }

  async function get(
    path: string,
    headers: Record<string, string> = {},
    options: Partial<HttpServerOptions> = {},
  ): Promise<{ answer: Response; body: Buffer; service: ListingService }> {
    const service = new ListingService();
    const { base } = await serve(options, service);
    const answer = await fetch(`${base}/raccoon/v1/bundle/test/${path}`, { headers, cache: 'no-store' });
    return { answer, body: Buffer.from(await answer.arrayBuffer()), service };
  }

  const { sha256, file } = new ListingService();

  test('by its hash a file never changes', async () => {
    const { answer, body } = await get(`tables.bin?sha256=${sha256}`);
    expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(Buffer.compare(body, file)).toBe(0);
    const owned = await get(`tables.bin?sha256=${sha256}`, {}, { authenticate: () => ({ name: 'a' }) });
    expect(owned.answer.headers.get('cache-control')).toBe('private, max-age=31536000, immutable');
  });

  test('by its name it may, and is asked for again', async () => {
    const { answer } = await get('tables.bin');
    expect(answer.headers.get('cache-control')).toBe('public, no-cache');
    expect(answer.headers.get('etag')).toBe(`"${sha256}"`);
    expect(answer.headers.get('content-length')).toBe(String(file.length));
    const again = await get('tables.bin', { 'if-none-match': `W/"x", "${sha256}"` });
    expect(again.answer.status).toBe(304);
    expect(again.body).toHaveLength(0);
    expect(again.service.callers).not.toHaveProperty('fetchFile');
  });

  test('what has another hash by now is not found', async () => {
    const { answer } = await get(`tables.bin?sha256=${'0'.repeat(64)}`);
    expect(answer.status).toBe(404);
    const service = new ListingService();
    const { base } = await serve({}, service);
    const chunks = client(base).fetchFile('test', 'tables.bin', 0, '0'.repeat(64))[Symbol.asyncIterator]();
    await expect(chunks.next()).rejects.toEqual(failure('not-found', /ask for its manifest again/));
  });

  test.each([
    ['bytes=0-', 206, 0, 200_000],
    ['bytes=199999-', 206, 199_999, 200_000],
    ['bytes=100-149', 206, 100, 150],
    ['bytes=149990-150010', 206, 149_990, 150_011],
    ['bytes=100-9999999', 206, 100, 200_000],
    ['bytes=200000-', 416, 0, 0],
    ['bytes=5-4', 200, 0, 200_000],
    ['bytes=-5', 200, 0, 200_000],
    ['bytes=0-1,5-6', 200, 0, 200_000],
  ])('range %s', async (range, status, from, to) => {
    const { answer, body, service } = await get('tables.bin', { range });
    expect(answer.status).toBe(status);
    expect(Buffer.compare(body, file.subarray(from, to))).toBe(0);
    if (status === 206) expect(answer.headers.get('content-range')).toBe(`bytes ${from}-${to - 1}/200000`);
    if (status === 416) expect(answer.headers.get('content-range')).toBe('bytes */200000');
    expect(service.filesOpen).toBe(0);
  });

  test('a range of what has changed since is the whole of it', async () => {
    const { answer, body } = await get('tables.bin', { range: 'bytes=5-', 'if-range': '"another"' });
    expect(answer.status).toBe(200);
    expect(body).toHaveLength(200_000);
  });

  test.each([0, 1, 199_999, 200_000])('a download goes on from byte %d', async (offset) => {
    const { base } = await serve({}, new ListingService());
    const chunks: Uint8Array[] = [];
    for await (const chunk of client(base).fetchFile('test', 'tables.bin', offset, sha256))
      chunks.push(chunk);
    expect(Buffer.compare(Buffer.concat(chunks), file.subarray(offset))).toBe(0);
  });

  test('the manifest is a file as well, for who takes a bundle from an HTTP prefix', async () => {
    const { answer, body } = await get('manifest.json');
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(JSON.parse(body.toString())).toHaveProperty('files');
  });
});

describe('beside the endpoint', () => {
  test('the fallback answers, or nothing is there', async () => {
    const { base } = await serve({ fallback: (call, response) => response.end(`page ${call.url}`) });
    expect(await (await fetch(`${base}/index.html`)).text()).toBe('page /index.html');
    expect((await fetch(`${base}/raccoon/v1/`)).status).toBe(404);
    const bare = await fetch((await serve()).base);
    expect(bare.status).toBe(404);
    expect(await bare.text()).toMatch(/endpoint is under \/raccoon\/v1\//);
  });

  test('an endpoint may be under a path', async () => {
    const { base } = await serve();
    const { port } = new URL(base);
    const proxy = await stranger((call, response) => {
      const path = call.url!.replace(/^\/cloud/, '');
      const onward = request({ port, path, method: call.method, headers: call.headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      call.pipe(onward);
    });
    for (const cloud of [`${proxy}/cloud`, `${proxy}/cloud/`]) {
      expect((await client(cloud).openStream(hello)).welcome.bundle).toBe('test');
    }
  });

  test('an address that is taken, or none', async () => {
    const { server } = await serve();
    await expect(serve({ listen: server.address })).rejects.toEqual(
      failure('unavailable', /is the port taken/),
    );
    await expect(serve({ listen: 'here' })).rejects.toEqual(failure('bad-request', /host:port/));
    for (const cloud of ['cloud.example', 'ftp://cloud.example', '', '/']) {
      expect(() => connectFetch(cloud)).toThrow(/an endpoint is https:\/\/host/);
    }
  });
});

describe('a draining cloud', () => {
  test('answers what is in flight; who comes then is told to go elsewhere', async () => {
    const { base, server, service } = await serve({ maxInFlight: 1 });
    const stream = await client(base).openStream(hello);
    const other = await client(base).openStream(hello); // so there is an idle connection
    await stream.send({ id: 1, payload: payload(1) });
    const { answer } = await service.call(1);
    const drained = server.drain(60_000);
    await other.send({ id: 2, payload: payload(2) });
    expect(await read(other)).toMatchObject({ id: 2, error: { code: 'draining' } });
    await expect(read(other)).rejects.toEqual(failure('draining', /takes no more requests/));
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    await drained;
    await stream.send({ id: 3, payload: payload(3) }); // it could not know
    await expect(read(stream)).rejects.toEqual(failure('unavailable', /the link to .* broke/));
    await expect(client(base).openStream(hello)).rejects.toEqual(
      failure('unavailable', /no Raccoon endpoint/),
    );
  });

  test('with nothing in flight it is gone at once', async () => {
    const { base, server } = await serve();
    await client(base).openStream(hello);
    await server.drain(60_000);
    while (server.connections > 0) await settle();
  });
});

describe('what is no Raccoon endpoint', () => {
  test.each([
    [200, 'protocol', /not a Raccoon endpoint/],
    [404, 'protocol', /not a Raccoon endpoint/],
    [301, 'protocol', /not a Raccoon endpoint/],
    [401, 'unauthenticated', /HTTP 401/],
    [403, 'forbidden', /HTTP 403/],
    [408, 'unavailable', /HTTP 408/],
    [502, 'unavailable', /HTTP 502/],
    [503, 'unavailable', /HTTP 503/],
    [504, 'unavailable', /HTTP 504/],
  ])('HTTP %d is %s', async (status, code, message) => {
    const base = await stranger(says(status));
    await expect(client(base).openStream(hello)).rejects.toEqual(failure(code, message));
    await expect(client(base).inferOnce({ id: 1, payload: payload(1) })).rejects.toEqual(
      failure(code, message),
    );
    await expect(client(base).getBundle()).rejects.toEqual(failure(code, message));
  });

  test.each([
    [413, 'payload-too-large'],
    [429, 'rate-limited'],
  ])("a proxy's %d is about this image", async (status, code) => {
    const { base, service } = await serve();
    let behind = true;
    const transport = client(base, {
      fetch: (input, init) =>
        behind ? fetch(input, init) : Promise.resolve(new Response('<p>', { status })),
    });
    const stream = await transport.openStream(hello);
    behind = false;
    await stream.send({ id: 1, payload: payload(1) });
    expect(await read(stream)).toMatchObject({ id: 1, error: { code } });
    behind = true;
    await stream.send({ id: 2, payload: payload(2) });
    (await service.call(2)).answer(good(2));
    expect(await read(stream)).toEqual(good(2));
  });

  test('protobuf that is none of ours', async () => {
    const base = await stranger(says(200, PROTOBUF, Buffer.from([0xff, 0xff])));
    await expect(client(base).openStream(hello)).rejects.toEqual(
      failure('protocol', /not a Raccoon endpoint/),
    );
  });

  test('an answer that breaks off', async () => {
    const base = await stranger((_, response) => {
      response.writeHead(200, { 'content-type': PROTOBUF, 'content-length': 100 }).write('x');
      setImmediate(() => response.destroy());
    });
    await expect(client(base).openStream(hello)).rejects.toEqual(
      failure('unavailable', /no Raccoon endpoint/),
    );
  });

  test('silence', async () => {
    const base = await stranger(() => {});
    const transport = client(base, { answerTimeoutMs: 20 });
    const problem = failure('unavailable', /does not answer/);
    await expect(transport.openStream(hello)).rejects.toEqual(problem);
    await expect(transport.inferOnce({ id: 1, payload: payload(1) })).rejects.toEqual(problem);
    await expect(transport.getBundle()).rejects.toEqual(problem);
  });
});

test('several are in flight, and one that is cancelled harms no other', async () => {
  const { base, service } = await serve();
  const stream = await client(base).openStream(hello);
  for (let id = 1; id <= 20; id++) await stream.send({ id, payload: payload(id) });
  const { context } = await service.call(7);
  await service.call(20);
  stream.cancel(7);
  await aborted(context.signal);
  expect(await read(stream)).toMatchObject({ id: 7, error: { code: 'cancelled' } });
  for (let id = 20; id >= 1; id--) (await service.call(id)).answer(good(id));
  stream.end();
  const answered = await readAll(stream);
  expect(answered.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 20 }, (_, i) => i + 1).filter((id) => id !== 7),
  );
});

test('what a page loads for it has neither Node nor gRPC nor protobufjs in it', async () => {
  const bundle = await rolldown({
    input: join(root, 'packages/transport/src/fetch/index.ts'),
    platform: 'browser',
    logLevel: 'silent',
  });
  const { output } = await bundle.generate({ format: 'esm', minify: true });
  await bundle.close();
  const [chunk, ...more] = output;
  expect(more).toEqual([]);
  expect(chunk.imports).toEqual([]); // what it does not bundle, it would import: node:http, say
  expect(chunk.moduleIds.filter((id) => !id.includes('packages/transport/src/'))).toEqual([]);
  expect(chunk.moduleIds.filter((id) => id.includes('/src/node/'))).toEqual([]);
  expect(chunk.code).not.toMatch(/\bBuffer\b|\bprocess\./);
  expect(chunk.code.length).toBeLessThan(25_000);
});
