import { afterEach, describe, expect, test } from 'vitest';
import { errorResponse, TransportError } from '@raccoon/transport';
import type { InferResponse, Limits } from '@raccoon/transport';
import {
  aborted,
  carriers,
  fetchCarrier,
  good,
  hello,
  ManualService,
  payload,
  read,
  readAll,
  settle,
} from './support.ts';
import type { Cloud } from './support.ts';

const failure = (code: string, message?: RegExp): object =>
  expect.objectContaining({
    name: 'TransportError',
    code,
    ...(message ? { message: expect.stringMatching(message) } : {}),
  });

describe.each([...carriers, fetchCarrier])('transport over $name', ({ name, start }) => {
  /** Whether the cloud can say something that it was not asked for. */
  const streams = name !== fetchCarrier.name;

  let cloud: Cloud | undefined;
  afterEach(async () => {
    await cloud?.stop();
  });

  async function begin(limits?: Partial<Limits>): Promise<{ service: ManualService; cloud: Cloud }> {
    const service = new ManualService();
    cloud = await start(service, limits);
    return { service, cloud };
  }

  async function open(limits?: Partial<Limits>) {
    const begun = await begin(limits);
    const transport = begun.cloud.connect();
    return { ...begun, transport, stream: await transport.openStream(hello) };
  }

  test('Hello is answered with Welcome and the limits of the server', async () => {
    const { stream } = await open({ maxInFlight: 3, maxPayloadBytes: 1000 });
    expect(stream.welcome).toEqual({
      protocol: 1,
      codecIds: ['0123456789ab'],
      bundle: 'test',
      bundleVersion: '1.2.3',
      maxInFlight: 3,
      maxPayloadBytes: 1000,
      maxSlices: streams ? 4 : 0,
    });
  });

  test('no protocol version in common', async () => {
    const transport = (await begin()).cloud.connect();
    const newer = { ...hello, protocolMin: 2, protocolMax: 4 };
    const problem = failure('protocol', /speaks protocol 1, the client 2 to 4: upgrade the cloud/);
    await expect(transport.openStream(newer)).rejects.toEqual(problem);
    await expect(transport.openStream(hello)).resolves.toBeDefined();
  });

  test('a Hello that the service refuses', async () => {
    const transport = (await begin()).cloud.connect();
    const stranger = { ...hello, codecIds: ['ffffffffffff'] };
    await expect(transport.openStream(stranger)).rejects.toEqual(failure('unknown-codec', /ffffffffffff/));
  });

  test('a Hello that cannot be sent', async () => {
    const transport = (await begin()).cloud.connect();
    const wrong = { ...hello, codecIds: ['xyz'] };
    await expect(transport.openStream(wrong)).rejects.toEqual(failure('bad-request', /12 hexadecimal/));
  });

  test('a request arrives as it was sent, and so does the result', async () => {
    const { service, stream } = await open();
    await stream.send({ id: 7, payload: payload(1, 2, 3), timeoutMs: 250, topK: 5, wantLogits: true });
    const { request, answer } = await service.call(7);
    expect(request).toMatchObject({ id: 7, timeoutMs: 250, topK: 5, wantLogits: true });
    expect([...request.payload]).toEqual([1, 2, 3]);
    const response: InferResponse = {
      id: 7,
      result: {
        top: [{ index: 7, probability: 0.75, logit: 2.5 }],
        margin: 0.5,
        logits: Float32Array.of(8, -1),
      },
      queueMs: 1,
      decodeMs: 2,
      inferMs: 3,
      bundleVersion: '1.2.3',
    };
    answer(response);
    expect(await read(stream)).toEqual(response);
  });

  test('priority and trace context arrive with their request', async () => {
    const { service, stream } = await open();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await stream.send({ id: 1, payload: payload(1), priority: 1, traceparent });
    const { request, context } = await service.call(1);
    expect(request.priority).toBe(1);
    expect(context.trace).toEqual({ traceparent });
    await stream.send({ id: 2, payload: payload(1), traceparent: 'nonsense' });
    expect((await service.call(2)).context.trace).toBeUndefined();
  });

  test('the service learns who asks', async () => {
    const { service, transport, stream } = await open();
    await stream.send({ id: 1, payload: payload(1) });
    const once = transport.inferOnce({ id: 2, payload: payload(1) });
    await transport.getBundle();
    for await (const chunk of transport.fetchFile('test', 'tables.bin')) expect(chunk).toBeDefined();
    const { caller } = (await service.call(1)).context;
    expect(caller.name).toMatch(/^(memory|127\.0\.0\.1)$/);
    expect((await service.call(2)).context.caller).toEqual(caller);
    expect(service.callers).toEqual({ hello: caller, getBundle: caller, fetchFile: caller });
    (await service.call(2)).answer(good(2));
    await once;
  });

  test('a request that the service does not answer is answered for, and its slot is free', async () => {
    const { service, stream } = await open({ maxInFlight: 1, messageTimeoutMs: 30 });
    for (const id of [1, 2]) {
      await stream.send({ id, payload: payload(id) });
      const { context, answer } = await service.call(id);
      expect(await read(stream)).toMatchObject({ id, error: { code: 'deadline' } });
      await aborted(context.signal);
      answer(good(id)); // too late: nobody hears it
    }
    stream.end();
    expect(await readAll(stream)).toEqual([]);
  });

  test('an empty payload is a payload', async () => {
    const { service, stream } = await open();
    await stream.send({ id: 1, payload: payload() });
    expect((await service.call(1)).request.payload).toHaveLength(0);
  });

  test('answers come in the order they are given', async () => {
    const { service, stream } = await open();
    for (const id of [1, 2, 3]) await stream.send({ id, payload: payload(id) });
    for (const id of [3, 1, 2]) (await service.call(id)).answer(good(id));
    for (const id of [3, 1, 2]) expect(await read(stream)).toEqual(good(id));
  });

  test('an error answers its request and harms no other', async () => {
    const { service, stream } = await open();
    for (const id of [1, 2]) await stream.send({ id, payload: payload(id) });
    (await service.call(1)).answer(errorResponse(1, 'overloaded', 'the queue is full', 40));
    (await service.call(2)).answer(good(2));
    expect(await read(stream)).toEqual({
      ...errorResponse(1, 'overloaded', 'the queue is full', 40),
      bundleVersion: '1.2.3', // an answer without one is Welcome's
    });
    expect(await read(stream)).toEqual(good(2));
  });

  test('a bundle version that is not that of the Welcome is said', async () => {
    const { service, stream } = await open();
    await stream.send({ id: 1, payload: payload(1) });
    (await service.call(1)).answer({ ...good(1), bundleVersion: '1.2.4' });
    expect((await read(stream)).bundleVersion).toBe('1.2.4');
  });

  test('a service that rejects all the same is answered for', async () => {
    const { service, stream } = await open();
    service.infer = () => Promise.reject(new Error('out of memory'));
    await stream.send({ id: 1, payload: payload(1) });
    expect((await read(stream)).error).toMatchObject({ code: 'internal', message: 'out of memory' });
  });

  test('the service learns of a cancel and answers it', async () => {
    const { service, stream } = await open();
    await stream.send({ id: 1, payload: payload(1) });
    const { context, answer } = await service.call(1);
    stream.cancel(99); // nobody's
    stream.cancel(1);
    await aborted(context.signal);
    answer(errorResponse(1, 'cancelled', 'as you wish'));
    const message = streams ? 'as you wish' : 'cancelled by the client'; // who hangs up hears no answer
    expect((await read(stream)).error).toMatchObject({ code: 'cancelled', message });
    await stream.send({ id: 1, payload: payload(1) }); // the id is free again
  });

  test('back-pressure: send waits while maxInFlight requests have no answer', async () => {
    const { service, stream } = await open({ maxInFlight: 2 });
    const sent: number[] = [];
    const sends = [1, 2, 3, 4].map(async (id) => {
      await stream.send({ id, payload: payload(id) });
      sent.push(id);
    });
    await service.call(2);
    await settle();
    expect(sent).toEqual([1, 2]);
    expect(service.calls).toHaveLength(2);
    (await service.call(2)).answer(good(2));
    await service.call(3);
    await settle();
    expect(sent).toEqual([1, 2, 3]);
    expect(service.calls).toHaveLength(3);
    for (const id of [1, 3, 4]) (await service.call(id)).answer(good(id));
    await Promise.all(sends);
    stream.end();
    expect((await readAll(stream)).map(({ id }) => id)).toEqual([2, 1, 3, 4]);
  });

  test('a request that waits for credit is cancelled without being sent', async () => {
    const { service, stream } = await open({ maxInFlight: 1 });
    await stream.send({ id: 1, payload: payload(1) });
    const waiting = stream.send({ id: 2, payload: payload(2) });
    stream.cancel(2);
    await waiting;
    expect(await read(stream)).toMatchObject({ id: 2, error: { code: 'cancelled' } });
    (await service.call(1)).answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    expect(service.calls).toHaveLength(1);
  });

  test('end lets what was sent be answered, then the responses end', async () => {
    const { service, stream } = await open({ maxInFlight: 1 });
    const sends = [1, 2].map((id) => stream.send({ id, payload: payload(id) }));
    stream.end();
    await expect(stream.send({ id: 3, payload: payload(3) })).rejects.toEqual(failure('bad-request', /end/));
    for (const id of [1, 2]) (await service.call(id)).answer(good(id));
    expect(await readAll(stream)).toEqual([good(1), good(2)]);
    await Promise.all(sends);
    await expect(stream.send({ id: 3, payload: payload(3) })).rejects.toEqual(failure('bad-request', /end/));
  });

  test.each([0, -1, 1.5, 2 ** 32])('an id of %d is refused', async (id) => {
    const { stream } = await open();
    await expect(stream.send({ id, payload: payload() })).rejects.toEqual(
      failure('bad-request', /whole number/),
    );
  });

  test('an id in flight is refused', async () => {
    const { stream } = await open();
    await stream.send({ id: 1, payload: payload() });
    await expect(stream.send({ id: 1, payload: payload() })).rejects.toEqual(
      failure('bad-request', /in flight/),
    );
  });

  test('a payload above the limit is answered, on a stream and alone', async () => {
    const { service, transport, stream } = await open({ maxPayloadBytes: 100 });
    await stream.send({ id: 1, payload: new Uint8Array(101) });
    const message = 'the payload has 101 bytes, the cloud takes 100: send fewer bits per pixel';
    expect((await read(stream)).error).toMatchObject({ code: 'payload-too-large', message });
    await stream.send({ id: 2, payload: new Uint8Array(100) });
    expect((await service.call(2)).request.payload).toHaveLength(100);
    for (const size of [101, 100_000]) {
      const response = await transport.inferOnce({ id: 3, payload: new Uint8Array(size) });
      expect(response).toMatchObject({ id: 3, error: { code: 'payload-too-large' } });
    }
  });

  test('a signal ends its stream and tells the service', async () => {
    const { service, cloud: running } = await begin();
    const transport = running.connect();
    const controller = new AbortController();
    const stream = await transport.openStream(hello, { signal: controller.signal });
    const other = await transport.openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    await other.send({ id: 2, payload: payload(2) });
    const { context } = await service.call(1);
    controller.abort();
    await expect(readAll(stream)).rejects.toEqual(failure('cancelled'));
    await expect(stream.send({ id: 3, payload: payload(3) })).rejects.toEqual(failure('cancelled'));
    await aborted(context.signal);
    (await service.call(2)).answer(good(2));
    expect(await read(other)).toEqual(good(2));
    const late = transport.openStream(hello, { signal: controller.signal });
    await expect(late).rejects.toEqual(failure('cancelled'));
  });

  test('close ends what is under way and tells the service', async () => {
    const { service, transport, stream } = await open();
    await stream.send({ id: 1, payload: payload(1) });
    const once = transport.inferOnce({ id: 2, payload: payload(2) });
    const signals = [(await service.call(1)).context.signal, (await service.call(2)).context.signal];
    const broken = Promise.all([
      expect(once).rejects.toEqual(failure('cancelled', /closed/)),
      expect(readAll(stream)).rejects.toEqual(failure('cancelled', /closed/)),
    ]);
    await transport.close();
    await broken;
    await Promise.all(signals.map(aborted));
    await expect(transport.openStream(hello)).rejects.toEqual(failure('cancelled', /closed/));
    await expect(transport.getBundle()).rejects.toEqual(failure('cancelled', /closed/));
  });

  test('a link that breaks: what came is read, the rest fails, the service knows', async () => {
    const { service, cloud: running, stream } = await open({ maxInFlight: 2 });
    for (const id of [1, 2]) await stream.send({ id, payload: payload(id) });
    const next = stream.send({ id: 3, payload: payload(3) });
    (await service.call(1)).answer(good(1));
    await service.call(3); // so the first answer has arrived
    await next;
    const problem = failure('unavailable', /the link to .* broke/);
    const waiting = stream.send({ id: 4, payload: payload(4) });
    const refused = expect(waiting).rejects.toEqual(problem);
    running.cut();
    await refused;
    await aborted((await service.call(2)).context.signal);
    expect(await read(stream)).toEqual(good(1));
    await expect(read(stream)).rejects.toEqual(problem);
    await expect(stream.send({ id: 5, payload: payload(5) })).rejects.toEqual(problem);
  });

  test.skipIf(!streams)('drain: what was taken is answered, nothing new is', async () => {
    const { service, cloud: running, transport, stream } = await open({ maxInFlight: 1 });
    const idle = await transport.openStream(hello);
    await stream.send({ id: 1, payload: payload(1) });
    const waiting = stream.send({ id: 2, payload: payload(2) });
    const refused = expect(waiting).rejects.toEqual(failure('draining', /takes no more requests/));
    const { answer } = await service.call(1);
    const drained = running.drain(60_000);
    await refused;
    await expect(stream.send({ id: 3, payload: payload(3) })).rejects.toEqual(failure('draining'));
    await expect(readAll(idle)).rejects.toEqual(failure('draining'));
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    await expect(read(stream)).rejects.toEqual(failure('draining'));
    await drained;
    expect(service.calls).toHaveLength(1);
    await expect(running.connect().openStream(hello)).rejects.toEqual(failure('unavailable'));
  });

  test('drain: after the grace, by force', async () => {
    const { service, cloud: running, stream } = await open();
    await stream.send({ id: 1, payload: payload(1) });
    const { context } = await service.call(1);
    await running.drain(1);
    await aborted(context.signal);
    await expect(readAll(stream)).rejects.toBeInstanceOf(TransportError);
  });

  test('a draining cloud ends a stream that its client has ended, in good order', async () => {
    const { service, cloud: running, stream } = await open();
    await stream.send({ id: 1, payload: payload(1) });
    stream.end();
    const { answer } = await service.call(1);
    const drained = running.drain(60_000);
    answer(good(1));
    expect(await readAll(stream)).toEqual([good(1)]);
    await drained;
  });

  test('one image without a stream', async () => {
    const { service, transport } = await open();
    const once = transport.inferOnce({ id: 0, payload: payload(4, 2), topK: 2 });
    const { request, answer } = await service.call(0);
    expect([...request.payload]).toEqual([4, 2]);
    answer(good(0));
    expect(await once).toEqual(good(0));
  });

  test('an error without a stream is a response, too', async () => {
    const { service, transport } = await open();
    const once = transport.inferOnce({ id: 5, payload: payload(1) });
    (await service.call(5)).answer(errorResponse(5, 'overloaded', 'the queue is full: 100 %, später', 40));
    expect(await once).toEqual(errorResponse(5, 'overloaded', 'the queue is full: 100 %, später', 40));
  });

  test('a signal cancels one image', async () => {
    const { service, transport } = await open();
    const controller = new AbortController();
    const once = transport.inferOnce({ id: 1, payload: payload(1) }, { signal: controller.signal });
    const rejected = expect(once).rejects.toEqual(failure('cancelled'));
    const { context } = await service.call(1);
    controller.abort();
    await rejected;
    await aborted(context.signal);
    const late = transport.inferOnce({ id: 2, payload: payload(1) }, { signal: controller.signal });
    await expect(late).rejects.toEqual(failure('cancelled'));
  });

  test('the bundle, by name and by default', async () => {
    const { transport } = await open();
    for (const info of [await transport.getBundle(), await transport.getBundle('test')]) {
      expect(info).toMatchObject({ name: 'test', version: '1.2.3' });
      expect(new TextDecoder().decode(info.manifest)).toBe('{"name": "test"}');
    }
    await expect(transport.getBundle('other')).rejects.toEqual(failure('not-found', /no bundle other/));
  });

  test.each([0, 1, 199_999, 200_000])('a file from byte %d on', async (offset) => {
    const { service, transport } = await open();
    const chunks: Uint8Array[] = [];
    for await (const chunk of transport.fetchFile('test', 'tables.bin', offset)) chunks.push(chunk);
    expect(Buffer.compare(Buffer.concat(chunks), service.file.subarray(offset))).toBe(0);
  });

  test('a file that is not there', async () => {
    const { transport } = await open();
    const chunks = transport.fetchFile('test', 'passwd')[Symbol.asyncIterator]();
    await expect(chunks.next()).rejects.toEqual(failure('not-found', /no file passwd in test/));
  });

  test('a reader that leaves a file early closes it', async () => {
    const { service, transport } = await open();
    for await (const chunk of transport.fetchFile('test', 'tables.bin')) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    while (service.filesOpen > 0) await settle();
  });
});
