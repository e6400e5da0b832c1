import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { createServer as createTlsServer, connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { TransportError } from '@raccoon/transport';
import { connectGrpc, serveGrpc } from '@raccoon/transport/node';
import type { ClientTls, Credentials, GrpcClientOptions, GrpcServerOptions } from '@raccoon/transport/node';
import { Authority } from './certificates.ts';
import { good, hello, ManualService, payload, portOf, read } from './support.ts';

// TLS, certificates of clients, and tokens, over real sockets.

let authority: Authority;
beforeAll(() => {
  authority = new Authority();
});
afterAll(() => authority.remove());

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serve(options: Omit<GrpcServerOptions, 'listen'>) {
  const service = new ManualService();
  const server = await serveGrpc(service, { listen: '127.0.0.1:0', ...options });
  cleanups.push(() => server.close());
  return { service, server };
}

function connect(port: number, options: GrpcClientOptions = {}) {
  const transport = connectGrpc(`localhost:${port}`, options);
  cleanups.push(() => transport.close());
  return transport;
}

const local = ['localhost', '127.0.0.1'];
const problem = (code: string, message: RegExp): object =>
  expect.objectContaining({ name: 'TransportError', code, message: expect.stringMatching(message) });

describe('TLS', () => {
  test('a stream, a call and a download, encrypted', async () => {
    const tls = authority.issue('server', { names: local });
    const { service, server } = await serve({ tls });
    const transport = connect(server.port, { tls: { ca: authority.ca } });
    const stream = await transport.openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    const { context, answer } = await service.call(1);
    expect(context.caller).toEqual({ name: '127.0.0.1' });
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    expect(await transport.getBundle()).toMatchObject({ name: 'test' });
    expect(server.certificateExpires?.getTime()).toBeGreaterThan(Date.now());
  });

  test('drains as without TLS', async () => {
    const { service, server } = await serve({ tls: authority.issue('server', { names: local }) });
    const stream = await connect(server.port, { tls: { ca: authority.ca } }).openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    const { answer } = await service.call(1);
    const silent = connectTcp(server.port, '127.0.0.1'); // a handshake that nobody begins
    cleanups.push(() => silent.destroy());
    await vi.waitFor(() => expect(server.connections).toBe(2));
    const drained = server.drain(600_000);
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    await drained;
    expect(server.connections).toBe(0);
  });

  test('a client without TLS is told what to do, and so is one with TLS for a cloud without', async () => {
    const secure = await serve({ tls: authority.issue('server', { names: local }) });
    const remedy = problem('unauthenticated', /takes TLS only: connect with tls/);
    await expect(connect(secure.server.port).openStream(hello)).rejects.toEqual(remedy);
    await expect(connect(secure.server.port).getBundle()).rejects.toEqual(remedy);

    const plain = await serve({});
    const transport = connect(plain.server.port, { tls: { ca: authority.ca } });
    await expect(transport.openStream(hello)).rejects.toEqual(
      problem('protocol', /does not speak TLS: connect without tls, or start it with --tls-cert/),
    );
  });

  test.each<[string, string[], number, ClientTls | true, RegExp]>([
    ['an unknown authority', local, 10, true, /signed by nobody known here.*--tls-ca/],
    ['an expired certificate', local, -1, {}, /has expired: its operator has to renew it/],
    ['another name', ['cloud.example'], 10, {}, /for another name.*--tls-server-name/],
  ])('%s', async (_, names, days, wish, message) => {
    const { server } = await serve({ tls: authority.issue('odd', { names, days }) });
    const tls = wish === true ? true : { ca: authority.ca, ...wish };
    const transport = connect(server.port, { tls });
    await expect(transport.openStream(hello)).rejects.toEqual(problem('unauthenticated', message));
  });

  test('the name in the certificate may be given', async () => {
    const { server } = await serve({ tls: authority.issue('named', { names: ['cloud.example'] }) });
    const transport = connect(server.port, { tls: { ca: authority.ca, serverName: 'cloud.example' } });
    expect(await transport.getBundle()).toMatchObject({ name: 'test' });
  });

  test('files that cannot be used are named', async () => {
    const files = authority.issue('server', { names: local });
    const other = authority.issue('other', { names: local });
    const missing = { cert: `${authority.folder}/nothing.pem`, key: files.key };
    await expect(serve({ tls: missing })).rejects.toEqual(
      problem('bad-request', /cannot read the TLS certificate in .*nothing/),
    );
    await expect(serve({ tls: { cert: files.cert, key: other.key } })).rejects.toEqual(
      problem('bad-request', /cannot use .*server.pem, .*other.key for TLS: .*mismatch/),
    );
    writeFileSync(`${authority.folder}/text.pem`, 'hello');
    expect(() => connect(1, { tls: { ca: `${authority.folder}/text.pem` } })).toThrow(/is no PEM file/);
    expect(() => connect(1, { tls: { cert: files.cert } })).toThrow(/needs both tls.cert and tls.key/);
  });

  test('a renewed certificate is taken up, and open streams stay', async () => {
    const reloads: (Error | undefined)[] = [];
    const files = authority.issue('renewed', { names: local, days: 1 });
    const tls = { ...files, reloadMs: 10, onReload: (error?: Error) => reloads.push(error) };
    const { service, server } = await serve({ tls });
    const stream = await connect(server.port, { tls: { ca: authority.ca } }).openStream(hello);
    const before = server.certificateExpires;

    authority.issue('renewed', { names: local, days: 20 });
    await vi.waitFor(() => expect(reloads).toContain(undefined), { timeout: 10_000 });
    expect(server.certificateExpires).not.toEqual(before);
    expect(await certificateEnd(server.port)).toEqual(server.certificateExpires);
    await stream.send({ id: 1, payload: payload(1) });
    (await service.call(1)).answer(good(1));
    expect(await read(stream)).toEqual(good(1));

    writeFileSync(files.cert, 'half a fi');
    await vi.waitFor(() => expect(reloads.at(-1)).toBeInstanceOf(TransportError), { timeout: 10_000 });
    expect(await certificateEnd(server.port)).toEqual(server.certificateExpires);
  });
});

async function certificateEnd(port: number): Promise<Date> {
  const ca = readFileSync(authority.ca);
  const socket = connectTls({ port, host: '127.0.0.1', ca, servername: 'localhost', ALPNProtocols: ['h2'] });
  await once(socket, 'secureConnect');
  const { valid_to: end } = socket.getPeerCertificate();
  socket.destroy();
  return new Date(end);
}

/** A cloud that asks for certificates. */
async function mutual(require = true) {
  const tls = authority.issue('server', { names: local });
  return serve({ tls: { ...tls, ca: authority.ca, requireClientCertificate: require } });
}

describe('certificates of clients', () => {
  test('the caller has the name in the certificate', async () => {
    const { service, server } = await mutual();
    const tls = { ca: authority.ca, ...authority.issue('edge-7') };
    const stream = await connect(server.port, { tls }).openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    expect((await service.call(1)).context.caller).toEqual({ name: 'edge-7' });
  });

  test('none, one that has ended, and one of another authority', async () => {
    const { server } = await mutual();
    const none = connect(server.port, { tls: { ca: authority.ca } });
    await expect(none.openStream(hello)).rejects.toEqual(
      problem('unauthenticated', /asks for a client certificate: give one.*--tls-cert/),
    );
    const stranger = new Authority('strangers');
    cleanups.push(() => stranger.remove());
    for (const files of [authority.issue('ended', { days: -1 }), stranger.issue('edge-7')]) {
      const transport = connect(server.port, { tls: { ca: authority.ca, ...files } });
      await expect(transport.openStream(hello)).rejects.toEqual(
        problem('unauthenticated', /the client certificate is not accepted \(.+\): give one/),
      );
    }
  });

  test('where none is required, a caller without is its address', async () => {
    const { service, server } = await mutual(false);
    await connect(server.port, { tls: { ca: authority.ca } }).getBundle();
    expect(service.callers['getBundle']).toEqual({ name: '127.0.0.1' });
  });

  test('another server that asks for one', async () => {
    const files = authority.issue('server', { names: local });
    const strict = createTlsServer({
      cert: readFileSync(files.cert),
      key: readFileSync(files.key),
      ca: readFileSync(authority.ca),
      requestCert: true,
      ALPNProtocols: ['h2'],
    }).listen(0, '127.0.0.1');
    await once(strict, 'listening');
    cleanups.push(() => strict.close());
    const transport = connect(portOf(strict.address()), { tls: { ca: authority.ca } });
    await expect(transport.getBundle()).rejects.toEqual(
      problem('unauthenticated', /does not accept this client's certificate.*--tls-cert/),
    );
  });
});

describe('tokens', () => {
  const asked: Credentials[] = [];
  function authenticate(credentials: Credentials): { name: string; bundles: string[] } {
    asked.push(credentials);
    if (credentials.token === 'sesame') return { name: 'ali', bundles: ['test'] };
    throw new TransportError(
      'unauthenticated',
      'this cloud does not know the token: give one with --token-file',
    );
  }
  afterEach(() => asked.splice(0));

  test('asked once for a stream, and for every single call; the caller is what comes back', async () => {
    const { service, server } = await serve({ authenticate });
    const transport = connect(server.port, { token: () => 'sesame' });
    const stream = await transport.openStream(hello);
    for (const id of [1, 2]) {
      await stream.send({ id, payload: payload(id) });
      expect((await service.call(id)).context.caller).toEqual({ name: 'ali', bundles: ['test'] });
    }
    expect(asked).toEqual([{ token: 'sesame', peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) }]);
    await transport.getBundle();
    expect(asked).toHaveLength(2);
  });

  test.each<[string, GrpcClientOptions]>([
    ['none', {}],
    ['a wrong one', { token: 'open-sesame' }],
  ])('%s: every call says what to do, and not what was given', async (_, options) => {
    const { service, server } = await serve({ authenticate });
    const transport = connect(server.port, options);
    const refused = problem('unauthenticated', /does not know the token: give one with --token-file$/);
    await expect(transport.openStream(hello)).rejects.toEqual(refused);
    await expect(transport.getBundle()).rejects.toEqual(refused);
    await expect(transport.fetchFile('test', 'tables.bin')[Symbol.asyncIterator]().next()).rejects.toEqual(
      refused,
    );
    const answer = await transport.inferOnce({ id: 1, payload: payload(1) });
    expect(answer.error).toMatchObject({ code: 'unauthenticated' });
    expect(service.calls).toEqual([]);
    expect(service.callers).toEqual({});
  });

  test('a token that others could read on its way is not sent', () => {
    expect(() => connectGrpc('cloud.example:50051', { token: 'sesame' })).toThrow(
      problem('bad-request', /a token to cloud.example:50051 could be read on its way: connect with tls/),
    );
    for (const target of ['127.0.0.1:1', 'localhost:1', '[::1]:1']) {
      void connectGrpc(target, { token: 'sesame' }).close();
    }
  });
});
