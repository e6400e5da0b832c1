import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';
import { connect as connectTcp } from 'node:net';
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import type { ClientReadableStream } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { MethodDefinition } from '@grpc/proto-loader';
import { protoPath as healthProto } from 'grpc-health-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { TransportError } from '@raccoon/transport';
import type { Caller } from '@raccoon/transport';
import { connectGrpc, serveGrpc } from '@raccoon/transport/node';
import type { Credentials, GrpcServer, GrpcServerOptions } from '@raccoon/transport/node';
import { Authority } from './certificates.ts';
import { aborted, good, hello, ManualService, payload, read, readAll, settle } from './support.ts';

// What an operator needs of the server: health, reflection, old connections, limits, and clients that mean no good.

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serve(options: Omit<GrpcServerOptions, 'listen'> = {}) {
  const service = new ManualService();
  const server = await serveGrpc(service, { listen: '127.0.0.1:0', ...options });
  cleanups.push(() => server.close());
  return { service, server };
}

function connect({ address }: GrpcServer) {
  const transport = connectGrpc(address);
  cleanups.push(() => transport.close());
  return transport;
}

function rawClient({ address }: GrpcServer): Client {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  cleanups.push(() => client.close());
  return client;
}

type AnyMethod = MethodDefinition<object, object>;

/** A service's methods as its .proto file has them. */
function methodsOf(proto: string, service: string): Record<string, AnyMethod> {
  // the service of a package definition
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return loadSync(proto, { enums: String, defaults: true, oneofs: true })[service] as unknown as Record<
    string,
    AnyMethod
  >;
}

function unary(client: Client, method: AnyMethod | undefined, request: object): Promise<object> {
  if (!method) throw new Error('no such method');
  return new Promise((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = method;
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (cause, answer) => {
      if (cause) reject(cause);
      else resolve(answer ?? {});
    });
  });
}

describe('health', () => {
  const methods = methodsOf(healthProto, 'grpc.health.v1.Health');
  const check = (client: Client, service: string): Promise<object> =>
    unary(client, methods['Check'], { service });

  test('nothing is SERVING before it is set; the empty name is when all others are', async () => {
    const { server } = await serve();
    const client = rawClient(server);
    expect(await check(client, '')).toEqual({ status: 'NOT_SERVING' });
    await expect(check(client, 'koala')).rejects.toMatchObject({ code: status.NOT_FOUND });
    server.health.set('raccoon.v1.Raccoon', 'SERVING');
    expect(await check(client, '')).toEqual({ status: 'SERVING' });
    server.health.set('koala', 'NOT_SERVING');
    expect(await check(client, 'koala')).toEqual({ status: 'NOT_SERVING' });
    expect(await check(client, '')).toEqual({ status: 'NOT_SERVING' });
    expect(await unary(client, methods['List'], {})).toMatchObject({
      statuses: { '': { status: 'NOT_SERVING' }, 'raccoon.v1.Raccoon': { status: 'SERVING' } },
    });
    server.health.set('koala', undefined);
    expect(await check(client, '')).toEqual({ status: 'SERVING' });
    await expect(check(client, 'koala')).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('a watch hears every change, and does not hold up a drain', async () => {
    const { server } = await serve();
    const heard: unknown[] = [];
    const watch = watchOf(rawClient(server), 'koala');
    watch.on('data', (answer) => heard.push(answer.status));
    await vi.waitFor(() => expect(heard).toEqual(['SERVICE_UNKNOWN']));
    server.health.set('other', 'SERVING');
    server.health.set('koala', 'SERVING');
    await vi.waitFor(() => expect(heard).toEqual(['SERVICE_UNKNOWN', 'SERVING']));
    const ended = once(watch, 'end');
    await server.drain(600_000);
    await ended;
    expect(heard).toEqual(['SERVICE_UNKNOWN', 'SERVING', 'NOT_SERVING']);
  });

  function watchOf(client: Client, service: string): ClientReadableStream<{ status: string }> {
    const { path, requestSerialize, responseDeserialize } = methods['Watch']!;
    const watch = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { service });
    watch.on('error', () => {});
    // what health.proto says
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return watch as unknown as ClientReadableStream<{ status: string }>;
  }

  test('anyone may ask: without a token, without TLS', async () => {
    const authority = new Authority();
    cleanups.push(() => authority.remove());
    const files = authority.issue('server', { names: ['127.0.0.1'] });
    const { server } = await serve({
      tls: { ...files, ca: authority.ca },
      authenticate,
    });
    server.health.set('raccoon.v1.Raccoon', 'SERVING');
    expect(await check(rawClient(server), '')).toEqual({ status: 'SERVING' });
  });
});

const isBytes = (value: unknown): value is { data: number[] } =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer';

function authenticate({ token }: Credentials): Caller {
  if (token === 'sesame') return { name: 'ali' };
  throw new TransportError('unauthenticated', 'no token');
}

describe('reflection', () => {
  const folder = dirname(createRequire(import.meta.url).resolve('@grpc/reflection/package.json'));

  async function ask(server: GrpcServer, version: string, question: object, metadata = new Metadata()) {
    const proto = join(folder, `build/proto/grpc/reflection/${version}/reflection.proto`);
    const method = methodsOf(proto, `grpc.reflection.${version}.ServerReflection`)['ServerReflectionInfo']!;
    const { path, requestSerialize, responseDeserialize } = method;
    const call = rawClient(server).makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadata,
    );
    call.on('error', () => {}); // once() rejects with it
    call.end(question);
    const [answer]: unknown[] = await once(call, 'data');
    return answer;
  }

  test.each(['v1', 'v1alpha'])('%s lists and describes', async (version) => {
    const { server } = await serve();
    const services = await ask(server, version, { listServices: '*' });
    expect(services).toMatchObject({
      listServicesResponse: { service: [{ name: 'raccoon.v1.Raccoon' }, { name: 'grpc.health.v1.Health' }] },
    });
    const file = await ask(server, version, { fileContainingSymbol: 'raccoon.v1.Raccoon' });
    expect(file).toMatchObject({ fileDescriptorResponse: { fileDescriptorProto: [expect.any(Buffer)] } });
    expect(
      JSON.stringify(file, (_, v: unknown) => (isBytes(v) ? Buffer.from(v.data).toString('latin1') : v)),
    ).toMatch(/want_logits/);
  });

  test('needs a token where calls do, and may be switched off', async () => {
    const { server } = await serve({ authenticate });
    await expect(ask(server, 'v1', { listServices: '*' })).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
    });
    const metadata = new Metadata();
    metadata.set('authorization', 'Bearer sesame');
    expect(await ask(server, 'v1', { listServices: '*' }, metadata)).toBeDefined();
    const silent = await serve({ reflection: false });
    await expect(ask(silent.server, 'v1', { listServices: '*' })).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
    });
  });
});

describe('connections', () => {
  test('one that grew old: what was taken is answered, the next stream has a new one', async () => {
    const { service, server } = await serve({ maxConnectionAgeMs: 700 });
    const transport = connect(server);
    const stream = await transport.openStream(hello);
    const idle = await transport.openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    const first = await service.call(1);
    await expect(readAll(idle)).rejects.toMatchObject({
      code: 'draining',
      message: expect.stringMatching(/as old as it may get/),
    });
    await expect(stream.send({ id: 2, payload: payload(2) })).rejects.toMatchObject({ code: 'draining' });
    const next = await transport.openStream(hello);
    await next.send({ id: 3, payload: payload(3) });
    const second = await service.call(3);
    expect(second.context.peer).not.toBe(first.context.peer);
    for (const { answer, request } of [first, second]) answer(good(request.id));
    expect(await read(stream)).toEqual(good(1));
    expect(await read(next)).toEqual(good(3));
  });

  test('one that grew old and does not go is cut after its grace', async () => {
    const { service, server } = await serve({ maxConnectionAgeMs: 500, maxConnectionAgeGraceMs: 50 });
    const stream = await connect(server).openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    const { context } = await service.call(1);
    await aborted(context.signal);
    await expect(readAll(stream)).rejects.toBeInstanceOf(TransportError);
  });

  test('no more than maxConnections, no more streams than maxStreamsPerConnection', async () => {
    const { server } = await serve({ maxConnections: 1, maxStreamsPerConnection: 2 });
    const transport = connect(server);
    const streams = [await transport.openStream(hello), await transport.openStream(hello)];
    await expect(connect(server).openStream(hello)).rejects.toMatchObject({ code: 'unavailable' });
    expect(server.connections).toBe(1);
    const third = transport.openStream(hello);
    streams[0]?.end();
    expect((await third).welcome).toBeDefined();
  });

  test('close ends everything at once, and the address is free', async () => {
    const { service, server } = await serve();
    const stream = await connect(server).openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    const { context } = await service.call(1);
    server.close();
    await aborted(context.signal);
    await expect(readAll(stream)).rejects.toMatchObject({ code: 'unavailable' });
    const again = await serveGrpc(service, { listen: server.address });
    again.close();
  });

  test('a drain that is done leaves no connection, and takes none', async () => {
    const { service, server } = await serve();
    const transport = connect(server);
    const stream = await transport.openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    const { answer } = await service.call(1);
    const drained = server.drain(600_000);
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    await drained;
    expect(server.connections).toBe(0);
    await expect(transport.openStream(hello)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

/** A client that says what it likes. */
function session({ port }: GrpcServer): ClientHttp2Session {
  const opened = connectHttp2(`http://127.0.0.1:${port}`);
  opened.on('error', () => {});
  cleanups.push(() => opened.destroy());
  return opened;
}

/** Others are served as ever. */
async function expectGood(server: GrpcServer, service: ManualService): Promise<void> {
  const stream = await connect(server).openStream(hello);
  await stream.send({ id: 4711, payload: payload(1) });
  (await service.call(4711)).answer(good(4711));
  expect(await read(stream)).toEqual(good(4711));
}

describe('hostile clients', () => {
  const headers = {
    ':method': 'POST',
    ':path': '/raccoon.v1.Raccoon/Infer',
    'content-type': 'application/grpc',
    te: 'trailers',
  };

  test('garbage instead of HTTP/2, of gRPC frames, and of messages', async () => {
    const { service, server } = await serve();
    const socket = connectTcp(server.port, '127.0.0.1');
    cleanups.push(() => socket.destroy());
    socket.on('error', () => {});
    socket.write(Buffer.alloc(4096, 0x55));
    socket.resume();
    await closed(socket);
    const opened = session(server);
    for (const bytes of [
      Buffer.alloc(300, 0xff), // a length of 4 GB
      Buffer.from([0, 0, 0, 0, 3, 0x0a, 0x05, 0x08]), // a frame as it should be, a message that is cut off
      Buffer.from([1, 0, 0, 0, 3, 1, 2, 3]), // compressed by nobody
      Buffer.from([0, 0, 0]), // and the end
    ]) {
      const stream = opened.request(headers);
      stream.on('error', () => {});
      stream.end(bytes);
      stream.resume();
      await closed(stream);
    }
    await expectGood(server, service);
  });

  test('a client that does not read gets no more than its share, and everything once it reads', async () => {
    const { service, server } = await serve({ maxInFlight: 4 });
    const logits = new Float32Array(4096).fill(1); // an answer of 16 kB
    let asked = 0;
    service.infer = async ({ id }) => {
      asked++;
      const answer = good(id);
      return { ...answer, result: { top: [], margin: 0, logits }, error: undefined };
    };
    const stream = session(server).request(headers);
    stream.write(frame({ hello: { protocolMin: 1, protocolMax: 1, codecIds: [codecId] } }));
    const images = 200;
    for (let id = 1; id <= images; id++) stream.write(frame({ request: { id, payload: Buffer.alloc(9) } }));
    stream.end();
    await vi.waitFor(() => expect(asked).toBeGreaterThan(3));
    await settle();
    expect(asked).toBeLessThan(images / 4);
    stream.resume();
    await closed(stream);
    expect(asked).toBe(images);
  });

  test('a client that is there no more is found out', async () => {
    const { server } = await serve({ keepaliveMs: 30, keepaliveTimeoutMs: 30 });
    const socket = connectTcp(server.port, '127.0.0.1');
    cleanups.push(() => socket.destroy());
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'); // and never an answer to a ping
    socket.write(Buffer.from('000000040000000000', 'hex'));
    socket.resume();
    await closed(socket);
    await vi.waitFor(() => expect(server.connections).toBe(0));
  });

  test('a storm of streams that are reset ends its connection, and no other', async () => {
    const { service, server } = await serve();
    const opened = session(server);
    const ended = closed(opened);
    while (!opened.closed && !opened.destroyed) {
      for (let i = 0; i < 200 && !opened.closed; i++) {
        const stream = opened.request(headers);
        stream.on('error', () => {});
        stream.close(constants.NGHTTP2_CANCEL);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ended;
    await expectGood(server, service);
    expect(service.calls).toHaveLength(1);
  });

  test('a thousand idle streams, and one that works', async () => {
    const { service, server } = await serve();
    const transport = connect(server);
    await Promise.all(Array.from({ length: 1000 }, () => transport.openStream(hello)));
    await expectGood(server, service);
  });

  test('more downloads than there is room for are refused with a time to come back', async () => {
    const { service, server } = await serve();
    const gate = new EventEmitter().setMaxListeners(100);
    const bundle = service.getBundle('', { name: 'x' });
    let waiting = 0;
    service.getBundle = async () => {
      waiting++;
      await once(gate, 'open');
      return bundle;
    };
    const transport = connect(server);
    const first = Array.from({ length: 64 }, () => transport.getBundle());
    await vi.waitFor(() => expect(waiting).toBe(64));
    const refused: unknown = await transport.getBundle().catch((cause: unknown) => cause);
    expect(refused).toMatchObject({
      code: 'overloaded',
      retryAfterMs: 1000,
    } satisfies Partial<TransportError>);
    gate.emit('open');
    await Promise.all(first);
    const last = transport.getBundle();
    await vi.waitFor(() => expect(waiting).toBe(65));
    gate.emit('open');
    expect(await last).toMatchObject({ name: 'test' });
  });
});

/** Its end, whether or not it says why. */
function closed(thing: EventEmitter): Promise<void> {
  return new Promise((resolve) => thing.once('close', resolve));
}

const codecId = Buffer.from('0123456789ab', 'hex');
const proto = fileURLToPath(new URL('../../proto/raccoon/v1/raccoon.proto', import.meta.url));
const { requestSerialize } = methodsOf(proto, 'raccoon.v1.Raccoon')['Infer']!;

/** A client's message behind gRPC's prefix. */
function frame(said: object): Buffer {
  const message = requestSerialize(said);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}
