import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Client, credentials, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { ClientDuplexStream, ServiceError, StatusObject } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { AnyDefinition, MessageTypeDefinition } from '@grpc/proto-loader';
import { afterEach, expect, test } from 'vitest';
import type { Limits } from '@raccoon/transport';
import { errorResponse } from '@raccoon/transport';
import { connectGrpc, serveGrpc } from '@raccoon/transport/node';
import type { GrpcServer } from '@raccoon/transport/node';
import { good, hello, ManualService, payload, portOf, read, settle, startProxy } from './support.ts';

// What only sockets can do: strangers on the line, and a client that goes by the .proto file and breaks its rules.

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serve(limits?: Partial<Limits>): Promise<{ service: ManualService; server: GrpcServer }> {
  const service = new ManualService();
  const server = await serveGrpc(service, { listen: '127.0.0.1:0', ...limits });
  cleanups.push(() => server.drain(0));
  return { service, server };
}

function connect(target: string, answerTimeoutMs?: number) {
  const transport = connectGrpc(target, answerTimeoutMs ? { answerTimeoutMs } : {});
  cleanups.push(() => transport.close());
  return transport;
}

const proto = fileURLToPath(new URL('../../proto', import.meta.url));
const types = loadSync('raccoon/v1/raccoon.proto', { includeDirs: [proto], defaults: true });

function messageType(name: string): MessageTypeDefinition<object, object> {
  const type = types[`raccoon.v1.${name}`];
  if (!isMessageType(type)) throw new Error(`no message ${name}`);
  return type;
}

function isMessageType(type: AnyDefinition | undefined): type is MessageTypeDefinition<object, object> {
  return type?.format === 'Protocol Buffer 3 DescriptorProto';
}

type RawStream = ClientDuplexStream<object | Buffer, object>;

/** A client that sends what it likes: messages by the .proto file, or bytes. */
function rawClient({ address }: GrpcServer): Client {
  const client = new Client(address, credentials.createInsecure());
  cleanups.push(() => client.close());
  return client;
}

function rawStream(client: Client): RawStream {
  const { serialize } = messageType('ClientMessage');
  const { deserialize } = messageType('ServerMessage');
  const encode = (said: object | Buffer): Buffer => (Buffer.isBuffer(said) ? said : serialize(said));
  const stream = client.makeBidiStreamRequest('/raccoon.v1.Raccoon/Infer', encode, deserialize);
  stream.on('error', () => {}); // tests look at the status
  return stream;
}

const rawHello = {
  hello: { protocolMin: 1, protocolMax: 1, codecIds: [Buffer.from('0123456789ab', 'hex')] },
};
const rawRequest = (id: number, size = 1): object => ({ request: { id, payload: Buffer.alloc(size) } });

async function replies(stream: RawStream, count: number): Promise<unknown[]> {
  const all: unknown[] = [];
  while (all.length < count) {
    const [reply]: unknown[] = await once(stream, 'data');
    all.push(reply);
  }
  return all;
}

function statusOf(stream: RawStream): Promise<StatusObject> {
  return new Promise((resolve) => stream.on('status', resolve).resume());
}

test('nobody listens: the message names the address and a remedy', async () => {
  const proxy = await startProxy(1);
  proxy.close();
  const transport = connect(`127.0.0.1:${proxy.port}`);
  const problem = expect.objectContaining({
    name: 'TransportError',
    code: 'unavailable',
    message: `no Raccoon cloud answers at 127.0.0.1:${proxy.port} - is \`raccoon cloud\` running there?`,
  });
  await expect(transport.openStream(hello)).rejects.toEqual(problem);
  await expect(transport.inferOnce({ id: 1, payload: payload(1) })).rejects.toEqual(problem);
  await expect(transport.getBundle()).rejects.toEqual(problem);
  const chunks = transport.fetchFile('test', 'tables.bin')[Symbol.asyncIterator]();
  await expect(chunks.next()).rejects.toEqual(problem);
});

test('a port that is taken', async () => {
  const { server, service } = await serve();
  const message = expect.stringContaining(`cannot listen on ${server.address}`);
  await expect(serveGrpc(service, { listen: server.address })).rejects.toMatchObject({ message });
});

test.each(['localhost', '', '127.0.0.1:http'])('listen without a port: "%s"', async (listen) => {
  await expect(serveGrpc(new ManualService(), { listen })).rejects.toMatchObject({
    code: 'bad-request',
    message: `listen takes host:port, not "${listen}"`,
  });
});

test('a gRPC server that is no Raccoon', async () => {
  const other = new Server();
  cleanups.push(() => other.forceShutdown());
  const port = await new Promise<number>((resolve) => {
    other.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (_, bound) => resolve(bound));
  });
  const transport = connect(`127.0.0.1:${port}`);
  const problem = { code: 'protocol', message: `what answers at 127.0.0.1:${port} is not a Raccoon cloud` };
  await expect(transport.openStream(hello)).rejects.toMatchObject(problem);
  await expect(transport.getBundle()).rejects.toMatchObject(problem);
});

test('a web server, and one that says nothing', async () => {
  const web = createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1');
  const mute = createTcpServer((socket) => cleanups.push(() => socket.destroy())).listen(0, '127.0.0.1');
  for (const server of [web, mute]) {
    if (!server.listening) await once(server, 'listening');
    cleanups.push(() => server.close());
    const transport = connect(`127.0.0.1:${portOf(server.address())}`, 300);
    await expect(transport.openStream(hello)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(transport.getBundle()).rejects.toMatchObject({ code: 'unavailable' });
  }
});

test('a stream that does not begin with Hello', async () => {
  const { server, service } = await serve();
  const stream = rawStream(rawClient(server));
  stream.write(rawRequest(1));
  const { code, details, metadata } = await statusOf(stream);
  expect(code).toBe(status.INVALID_ARGUMENT);
  expect(details).toBe('the first message of a stream must be a Hello');
  expect(metadata.get('raccoon-code')).toEqual(['bad-request']);
  expect(service.calls).toEqual([]);
});

test('bad messages are answered one by one, and the stream goes on', async () => {
  const { server, service } = await serve({ maxPayloadBytes: 100 });
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  await replies(stream, 1);
  const bad = [
    Buffer.from([0x0a, 0x05, 0x08]), // a request, cut off
    Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]), // no protobuf at all
    Buffer.alloc(0), // nothing
    Buffer.from([0x7a, 0x00]), // field 15, which nobody has
    rawHello, // for the second time
    rawRequest(0), // no id
    rawRequest(1, 101), // too large, within gRPC's own limit
  ];
  for (const sent of bad) stream.write(sent);
  const codes = (await replies(stream, bad.length)).map((reply) => JSON.stringify(reply));
  for (const reply of codes.slice(0, 6)) expect(reply).toMatch(/"error":\{"code":"bad-request"/);
  expect(codes[6]).toMatch(/"error":\{"code":"payload-too-large"/);
  stream.write(rawRequest(2));
  stream.write(rawRequest(2)); // in flight
  expect(JSON.stringify(await replies(stream, 1))).toMatch(/already in flight/);
  (await service.call(2)).answer(good(2));
  expect(await replies(stream, 1)).toMatchObject([{ response: { id: 2, result: { margin: 0.5 } } }]);
});

test('a message above the hard limit ends its stream, and no other of the connection', async () => {
  const { server, service } = await serve({ maxPayloadBytes: 100 });
  const client = rawClient(server);
  const [hostile, honest] = [rawStream(client), rawStream(client)];
  for (const stream of [hostile, honest]) {
    stream.write(rawHello);
    await replies(stream, 1);
  }
  hostile.write(rawRequest(1, 100_000));
  expect(await statusOf(hostile)).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  honest.write(rawRequest(2));
  (await service.call(2)).answer(good(2));
  expect(await replies(honest, 1)).toMatchObject([{ response: { id: 2 } }]);
});

test('a client that ignores its credit is read no further, and loses nothing', async () => {
  const { server, service } = await serve({ maxInFlight: 2 });
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  await replies(stream, 1);
  for (let id = 1; id <= 100; id++) stream.write(rawRequest(id));
  stream.end();
  await service.call(2);
  await settle();
  expect(service.calls).toHaveLength(2);
  const answered = replies(stream, 100);
  for (let id = 1; id <= 100; id++) (await service.call(id)).answer(good(id));
  expect(await answered).toHaveLength(100);
  expect(await statusOf(stream)).toMatchObject({ code: status.OK });
});

const rawSlice = (id: number, sliceIndex: number, moreSlices: boolean, size = 1): object => ({
  request: { id, payload: Buffer.alloc(size), sliceIndex, moreSlices },
});

test('slices that nobody waits for are passed over: of no image, of one that is answered, of one slice', async () => {
  const { server, service } = await serve();
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  await replies(stream, 1);
  stream.write(rawSlice(1, 1, false)); // its first never came
  stream.write(rawSlice(2, 0, true));
  (await service.call(2)).answer(good(2));
  expect(await replies(stream, 1)).toMatchObject([{ response: { id: 2 } }]);
  stream.write(rawSlice(2, 1, false)); // it has crossed with the answer
  stream.write(rawRequest(3));
  stream.write(rawSlice(3, 1, false));
  (await service.call(3)).answer(good(3));
  expect(await replies(stream, 1)).toMatchObject([{ response: { id: 3 } }]);
  expect(service.calls).toHaveLength(2);
});

test('first slices without end: read no further than the credit, and room for the rest of each', async () => {
  const { server, service } = await serve({ maxInFlight: 2, maxPayloadBytes: 100, messageTimeoutMs: 200 });
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  await replies(stream, 1);
  for (let id = 1; id <= 6; id++) stream.write(rawSlice(id, 0, true));
  await service.call(2);
  await settle();
  expect(service.calls).toHaveLength(2);
  const answers = await replies(stream, 6); // each time out, and make room for the next
  expect(answers.map((reply) => JSON.stringify(reply))).toEqual(
    Array(6).fill(expect.stringContaining('"deadline"')),
  );
});

test('four slices at the limit: bytes that add up to more than it are not kept', async () => {
  const { server, service } = await serve({ maxPayloadBytes: 100 });
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  await replies(stream, 1);
  for (let index = 0; index < 4; index++) stream.write(rawSlice(1, index, index < 3, 100));
  const { context } = await service.call(1);
  await expect(context.later!.next()).rejects.toMatchObject({
    code: 'payload-too-large',
    message: 'the slices have 200 bytes, the cloud takes 100: send fewer bits per pixel',
  });
});

test('a client that ends before its last slice', async () => {
  const { server, service } = await serve();
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  await replies(stream, 1);
  stream.write(rawSlice(1, 0, true));
  stream.write(rawSlice(1, 1, true));
  stream.end();
  const { context, answer } = await service.call(1);
  expect((await context.later!.next()).sliceIndex).toBe(1);
  const message = 'the client ended its stream before slice 2 of request 1';
  await expect(context.later!.next()).rejects.toMatchObject({ code: 'bad-request', message });
  answer(good(1));
  expect(await replies(stream, 1)).toMatchObject([{ response: { id: 1 } }]);
  expect(await statusOf(stream)).toMatchObject({ code: status.OK });
});

test('More, as a client by the .proto file reads it', async () => {
  const { server, service } = await serve();
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  expect(await replies(stream, 1)).toMatchObject([{ welcome: { maxSlices: 4 } }]);
  // id 7, one byte, more slices, stop at 0.5: by hand
  stream.write(Buffer.from('0a0c08071201013801550000003f', 'hex'));
  const { request, context, answer } = await service.call(7);
  expect(request).toMatchObject({ id: 7, moreSlices: true, stopMargin: 0.5 });
  const next = context.later!.next(0.25);
  expect(await replies(stream, 1)).toMatchObject([{ more: { id: 7, margin: 0.25 } }]);
  stream.write(rawSlice(7, 1, false));
  expect((await next).sliceIndex).toBe(1);
  answer(good(7));
  expect(await replies(stream, 1)).toMatchObject([{ response: { id: 7 } }]);
});

test('a client that ends while the cloud holds its last request is answered still', async () => {
  const { server, service } = await serve({ maxInFlight: 1 });
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  for (const id of [1, 2]) stream.write(rawRequest(id));
  stream.end();
  const answered = replies(stream, 3);
  for (const id of [1, 2]) (await service.call(id)).answer(good(id));
  expect(await answered).toMatchObject([{}, { response: { id: 1 } }, { response: { id: 2 } }]);
});

test('a single call that cannot be read is answered as a bad request', async () => {
  const { server, service } = await serve();
  const client = rawClient(server);
  const raw = (path: string): Promise<ServiceError | null> =>
    new Promise((resolve) => {
      const bytes = Buffer.alloc(5, 0xff);
      client.makeUnaryRequest(
        path,
        () => bytes,
        () => ({}),
        {},
        (cause) => resolve(cause),
      );
    });
  for (const method of ['InferOnce', 'GetBundle', 'FetchFile']) {
    expect(await raw(`/raccoon.v1.Raccoon/${method}`)).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: 'the cloud got a message that cannot be read',
    });
  }
  expect(service.calls).toEqual([]);
});

test('a stream that never says Hello is ended', async () => {
  const { server } = await serve({ messageTimeoutMs: 30 });
  expect(await statusOf(rawStream(rawClient(server)))).toMatchObject({
    code: status.DEADLINE_EXCEEDED,
    details: 'no Hello within 30 ms',
  });
});

test('the trace context of a call stands for requests without their own', async () => {
  const { server, service } = await serve();
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const metadata = new Metadata();
  metadata.set('traceparent', traceparent);
  metadata.set('tracestate', 'vendor=1');
  const { serialize } = messageType('InferRequest');
  const { deserialize } = messageType('InferResponse');
  const client = rawClient(server);
  client.makeUnaryRequest(
    '/raccoon.v1.Raccoon/InferOnce',
    serialize,
    deserialize,
    { id: 3 },
    metadata,
    () => {},
  );
  const { context, answer } = await service.call(3);
  expect(context.trace).toEqual({ traceparent, tracestate: 'vendor=1' });
  answer(good(3));
});

test('what a client sent before it could hear the GoAway is served, what it sends in spite of it is not', async () => {
  const { server, service } = await serve({ maxInFlight: 2 });
  const stream = rawStream(rawClient(server));
  stream.write(rawHello);
  await replies(stream, 1);
  const drained = server.drain(600_000);
  expect(await replies(stream, 1)).toMatchObject([{ goAway: { reason: 'the cloud is shutting down' } }]);
  for (const id of [1, 2, 3]) stream.write(rawRequest(id));
  stream.end();
  const answered = replies(stream, 3);
  for (const id of [1, 2]) (await service.call(id)).answer(good(id));
  const codes = (await answered).map((reply) => JSON.stringify(reply));
  expect(codes.filter((reply) => reply.includes('"draining"'))).toHaveLength(1);
  expect(service.calls).toHaveLength(2);
  await drained;
});

test('without a stream, an error is a gRPC status with our code and the retry advice', async () => {
  const { server, service } = await serve();
  const { serialize } = messageType('InferRequest');
  const { deserialize } = messageType('InferResponse');
  const failed = new Promise<ServiceError | null>((resolve) => {
    const path = '/raccoon.v1.Raccoon/InferOnce';
    rawClient(server).makeUnaryRequest(path, serialize, deserialize, { id: 3 }, (cause) => resolve(cause));
  });
  (await service.call(3)).answer(errorResponse(3, 'overloaded', 'the queue is full', 40));
  const cause = await failed;
  expect(cause).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: 'the queue is full' });
  expect(cause?.metadata.get('raccoon-code')).toEqual(['overloaded']);
  expect(cause?.metadata.get('grpc-retry-pushback-ms')).toEqual(['40']);
});

test('on a warm stream an image costs at most 40 bytes beyond its payload', async () => {
  const { server, service } = await serve();
  const proxy = await startProxy(server.port);
  cleanups.push(() => proxy.close());
  service.infer = async ({ id }) => good(id);
  const stream = await connect(`127.0.0.1:${proxy.port}`).openStream(hello);
  const size = 627; // 0.1 bpp at 224 x 224
  let id = 20_000; // a stream that has run for a while
  const image = async (): Promise<void> => {
    await stream.send({ id: ++id, payload: new Uint8Array(size), timeoutMs: 1000, topK: 5 });
    expect(await read(stream)).toMatchObject({ id });
  };
  await image();
  const before = { ...proxy.bytes };
  const images = 500;
  for (let count = 0; count < images; count++) await image();
  const up = (proxy.bytes.up - before.up) / images - size;
  const down = (proxy.bytes.down - before.down) / images;
  console.log(
    `overhead per image: ${up.toFixed(1)} bytes up, ${down.toFixed(1)} bytes down (a result of two classes)`,
  );
  expect(up).toBeLessThanOrEqual(40);
  expect(down).toBeLessThanOrEqual(120);
});
