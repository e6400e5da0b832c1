import { status } from '@grpc/grpc-js';
import { errorResponse, TransportError, type Caller, type InferResponse } from '@raccoon/transport';
import { serveGrpc, type GrpcServer, type GrpcServerOptions, type OipModel } from '@raccoon/transport/node';
import { afterEach, describe, expect, test } from 'vitest';
import { numbers, OipCaller, rawBytes, rawRequest } from './oip/client.ts';
import { aborted, good, ManualService, payload } from './support.ts';

// The Open Inference Protocol's front over a real socket: what comes in, what goes out, and what is refused.

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const models = {
  model(name: string, { bundles }: Caller): OipModel {
    if (name !== 'test' && name !== '') throw new TransportError('not-found', `no ${name}`);
    if (bundles) throw new TransportError('forbidden', 'not for you');
    return { name: 'test', versions: ['1.2.3', '1.0.0'], classes: 10 };
  },
};

interface Front {
  readonly service: ManualService;
  readonly server: GrpcServer;
  readonly caller: OipCaller;
}

async function front(options: Partial<GrpcServerOptions> = {}): Promise<Front> {
  const service = new ManualService();
  const server = await serveGrpc(service, {
    listen: '127.0.0.1:0',
    oip: { models, version: '0.1.0' },
    ...options,
  });
  server.health.set('test', 'SERVING');
  const caller = new OipCaller(server.address);
  cleanups.push(
    () => server.drain(0),
    () => caller.close(),
  );
  return { service, server, caller };
}

function withLogits(logits: Float32Array): InferResponse {
  const { error: _, result, ...rest } = good(1);
  return { ...rest, result: { ...result!, logits } };
}

test('live, ready and a model ready: as health says', async () => {
  const { caller, server } = await front();
  const ready = async (name: string, version = ''): Promise<unknown> =>
    caller.call('ModelReady', { name, version });
  expect(await caller.call('ServerLive')).toEqual({ live: true });
  expect(await caller.call('ServerReady')).toEqual({ ready: true });
  expect(await ready('test')).toEqual({ ready: true });
  expect(await ready('test', '1.0.0')).toEqual({ ready: true });
  expect(await ready('test', '9.9.9')).toEqual({ ready: false });
  expect(await ready('nobody')).toEqual({ ready: false });
  server.health.set('test', 'NOT_SERVING');
  expect(await caller.call('ServerLive')).toEqual({ live: true });
  expect(await caller.call('ServerReady')).toEqual({ ready: false });
  expect(await ready('test')).toEqual({ ready: false });
});

test('metadata of server and model', async () => {
  const { caller } = await front();
  expect(await caller.call('ServerMetadata')).toEqual({ name: 'raccoon', version: '0.1.0', extensions: [] });
  expect(await caller.call('ModelMetadata', { name: 'test' })).toEqual({
    name: 'test',
    versions: ['1.2.3', '1.0.0'],
    platform: 'raccoon',
    inputs: [{ name: 'bitstream', datatype: 'BYTES', shape: [-1] }],
    outputs: [
      { name: 'classes', datatype: 'INT32', shape: [-1, -1] },
      { name: 'probabilities', datatype: 'FP32', shape: [-1, -1] },
      { name: 'logits', datatype: 'FP32', shape: [-1, 10] },
      { name: 'margin', datatype: 'FP32', shape: [-1] },
    ],
  });
  expect(await caller.failure('ModelMetadata', { name: 'test', version: '2.0.0' })).toMatchObject({
    code: status.NOT_FOUND,
    details: 'this cloud serves test 1.2.3 and 1.0.0, not 2.0.0',
  });
});

test('several images in one request: one answer, rows in the order of the images', async () => {
  const { caller, service } = await front();
  const images = [payload(1, 2, 3), payload(), payload(4)];
  const asked = caller.infer(
    rawRequest('test', images, {
      id: 'mine',
      modelVersion: '1.0.0',
      parameters: { top_k: { int64Param: 2 }, timeout: { int64Param: 1_500_000 } },
      outputs: [{ name: 'probabilities' }, { name: 'classes' }, { name: 'margin' }],
    }),
  );
  for (const [i, image] of images.entries()) {
    const { request, context } = await service.call(i + 1);
    expect(request).toMatchObject({ topK: 2, wantLogits: false, timeoutMs: 1500 });
    expect(request).toMatchObject({ bundle: 'test', bundleVersion: '1.0.0' });
    expect([...request.payload]).toEqual([...image]);
    expect(context.caller.name).toBe('127.0.0.1');
  }
  for (const i of [3, 1, 2]) service.calls[i - 1]!.answer(good(i)); // as they like
  const answer = await asked;
  expect(answer).toMatchObject({ modelName: 'test', modelVersion: '1.2.3', id: 'mine' });
  expect(answer.outputs).toMatchObject([
    { name: 'probabilities', datatype: 'FP32', shape: [3, 2], contents: null },
    { name: 'classes', datatype: 'INT32', shape: [3, 2], contents: null },
    { name: 'margin', datatype: 'FP32', shape: [3], contents: null },
  ]);
  expect(numbers(answer, 'classes')).toEqual([1, 0, 2, 0, 3, 0]);
  expect(numbers(answer, 'probabilities')).toEqual([0.75, 0.25, 0.75, 0.25, 0.75, 0.25]);
  expect(numbers(answer, 'margin')).toEqual([0.5, 0.5, 0.5]);
});

test('the typed form is answered in the typed form, with every output', async () => {
  const { caller, service } = await front();
  const asked = caller.infer({
    inputs: [
      { name: 'bitstream', datatype: 'BYTES', shape: [1, 1], contents: { bytesContents: [payload(7)] } },
    ],
  });
  const { request, answer: reply } = await service.call(1);
  expect(request).toMatchObject({ topK: 5, wantLogits: true, timeoutMs: 0, bundle: 'test' });
  const logits = Float32Array.of(2.5, 1, 0);
  reply(withLogits(logits));
  const { outputs, rawOutputContents, modelName } = await asked;
  expect(modelName).toBe('test');
  expect(rawOutputContents).toEqual([]);
  expect(outputs.map(({ name }) => name)).toEqual(['classes', 'probabilities', 'logits', 'margin']);
  expect(outputs[2]).toMatchObject({ shape: [1, 3], contents: { fp32Contents: [2.5, 1, 0] } });
});

test("a call's own deadline is the request's timeout", async () => {
  const { caller, service } = await front();
  const asked = caller.infer(rawRequest('test', [payload(1)]), { deadlineMs: 50_000 });
  const { request, answer } = await service.call(1);
  expect(request.timeoutMs).toBeGreaterThan(1000);
  expect(request.timeoutMs).toBeLessThanOrEqual(50_000);
  answer(withLogits(Float32Array.of(1)));
  await asked;
});

test('one image that fails fails its request, by name, and gives up the others', async () => {
  const { caller, service } = await front();
  const asked = caller.failure('ModelInfer', rawRequest('test', [payload(1), payload(2)]));
  const [first, second] = [await service.call(1), await service.call(2)];
  second.answer(errorResponse(2, 'overloaded', 'too much', 70));
  await aborted(first.context.signal);
  first.answer(errorResponse(1, 'cancelled', 'as you like'));
  const { code, details, metadata } = await asked;
  expect(code).toBe(status.RESOURCE_EXHAUSTED);
  expect(details).toBe('image 1: too much');
  expect(metadata.get('raccoon-code')).toEqual(['overloaded']);
  expect(metadata.get('grpc-retry-pushback-ms')).toEqual(['70']);
});

test('a client that is gone is not worked for', async () => {
  const { caller, service } = await front();
  const { answer, cancel } = caller.start('ModelInfer', rawRequest('test', [payload(1)]));
  const { context } = await service.call(1);
  cancel();
  await expect(answer).rejects.toMatchObject({ code: status.CANCELLED });
  await aborted(context.signal);
});

function authenticate({ token }: { token?: string }): Caller {
  if (token === undefined) throw new TransportError('unauthenticated', 'a token, please');
  return token === 'all' ? { name: 'all' } : { name: 'some', bundles: ['other'] };
}

test('a token is asked for, of every call, and says which models there are', async () => {
  const { caller, service } = await front({ authenticate });
  for (const method of [
    'ServerLive',
    'ServerReady',
    'ModelReady',
    'ServerMetadata',
    'ModelMetadata',
    'ModelInfer',
  ])
    expect(await caller.failure(method, {})).toMatchObject({ code: status.UNAUTHENTICATED });
  const request = rawRequest('test', [payload(1)]);
  const denied = { code: status.PERMISSION_DENIED };
  expect(await caller.failure('ModelInfer', request, { token: 'some' })).toMatchObject(denied);
  expect(await caller.call('ModelReady', { name: 'test' }, { token: 'some' })).toEqual({ ready: false });
  void caller.infer(request, { token: 'all' }).catch(() => undefined);
  expect((await service.call(1)).context.caller).toEqual({ name: 'all' });
});

test('what is in flight is answered while the server leaves', async () => {
  const { caller, service, server } = await front();
  const asked = caller.infer(rawRequest('test', [payload(1)], { outputs: [{ name: 'classes' }] }));
  const { answer } = await service.call(1);
  const drained = server.drain(10_000);
  answer(good(1));
  expect(numbers(await asked, 'classes')).toEqual([1, 0]);
  await drained;
});

const input = { name: 'bitstream', datatype: 'BYTES', shape: [1] };
const raw = rawBytes([payload(1)]);
const INVALID = status.INVALID_ARGUMENT;

describe('refused, and no other call harmed', () => {
  test.each<[string, object | Buffer, number, string]>([
    ['bytes that are no message', Buffer.alloc(5, 0xff), INVALID, 'cannot be read'],
    ['a model that nobody has', rawRequest('nobody', [payload(1)]), status.NOT_FOUND, 'no nobody'],
    [
      'a version that nobody has',
      rawRequest('test', [payload(1)], { modelVersion: '3' }),
      status.NOT_FOUND,
      'not 3',
    ],
    ['no input', { modelName: 'test' }, INVALID, 'the one input is bitstream BYTES, not none'],
    [
      'two inputs',
      { inputs: [input, input], rawInputContents: [raw, raw] },
      INVALID,
      'not bitstream BYTES, bitstream BYTES',
    ],
    [
      'another name',
      { inputs: [{ ...input, name: 'image' }], rawInputContents: [raw] },
      INVALID,
      'not image BYTES',
    ],
    [
      'another type',
      { inputs: [{ ...input, datatype: 'UINT8' }], rawInputContents: [raw] },
      INVALID,
      'not bitstream UINT8',
    ],
    [
      'both forms',
      { inputs: [{ ...input, contents: { bytesContents: [payload(1)] } }], rawInputContents: [raw] },
      INVALID,
      'holds the bitstreams, once',
    ],
    ['raw for two tensors', { inputs: [input], rawInputContents: [raw, raw] }, INVALID, 'once'],
    [
      'no elements',
      { inputs: [{ ...input, shape: [0] }], rawInputContents: [Buffer.alloc(0)] },
      INVALID,
      'at least one',
    ],
    ['neither form', { inputs: [input] }, INVALID, 'shape [1] with 0 bitstreams'],
    ['no shape', { inputs: [{ ...input, shape: [] }], rawInputContents: [raw] }, INVALID, 'shape []'],
    [
      'a shape of two',
      { inputs: [{ ...input, shape: [2] }], rawInputContents: [raw] },
      INVALID,
      'shape [2] with 1',
    ],
    [
      'a negative shape',
      { inputs: [{ ...input, shape: [-1, -1] }], rawInputContents: [raw] },
      INVALID,
      'shape [-1, -1]',
    ],
    [
      'half a length',
      { inputs: [input], rawInputContents: [Buffer.from([1, 0, 0])] },
      INVALID,
      'do not fill it',
    ],
    [
      'half an element',
      { inputs: [input], rawInputContents: [raw.subarray(0, 4)] },
      INVALID,
      'do not fill it',
    ],
    [
      'a length of 4 GB',
      { inputs: [input], rawInputContents: [Buffer.from([255, 255, 255, 255, 1])] },
      INVALID,
      'do not fill it',
    ],
    [
      'an output that there is not',
      rawRequest('test', [payload(1)], { outputs: [{ name: 'labels' }] }),
      INVALID,
      'no output labels: ask for classes, probabilities, logits, margin',
    ],
    [
      'top_k in words',
      rawRequest('test', [payload(1)], { parameters: { top_k: { stringParam: '5' } } }),
      INVALID,
      'parameter top_k: an int64 from 1',
    ],
    [
      'no time at all',
      rawRequest('test', [payload(1)], { parameters: { timeout: { int64Param: -1 } } }),
      INVALID,
      'parameter timeout',
    ],
    [
      'more images than a stream may have under way',
      rawRequest(
        'test',
        Array.from({ length: 4 }, () => payload(1)),
      ),
      INVALID,
      '4 images in one request; the cloud takes 3',
    ],
    [
      'a payload that is too large',
      rawRequest('test', [new Uint8Array(101)]),
      INVALID,
      'the cloud takes 100',
    ],
    [
      'a message above the hard limit',
      rawRequest('test', [new Uint8Array(2000)]),
      status.RESOURCE_EXHAUSTED,
      'larger',
    ],
  ])('%s', async (_, request, code, details) => {
    const { caller, service } = await front({ maxInFlight: 3, maxPayloadBytes: 100 });
    const said = await caller.failure('ModelInfer', request);
    expect(said).toMatchObject({ code, details: expect.stringContaining(details) });
    expect(service.calls).toEqual([]);
    const asked = caller.infer(rawRequest('test', [payload(1)], { outputs: [{ name: 'margin' }] }));
    (await service.call(1)).answer(good(1));
    expect(numbers(await asked, 'margin')).toEqual([0.5]);
  });
});

test('a server that was not told to speaks no Open Inference Protocol', async () => {
  const server = await serveGrpc(new ManualService(), { listen: '127.0.0.1:0' });
  const caller = new OipCaller(server.address);
  cleanups.push(
    () => server.drain(0),
    () => caller.close(),
  );
  expect(await caller.failure('ServerLive', {})).toMatchObject({ code: status.UNIMPLEMENTED });
});
