import { afterEach, describe, expect, test } from 'vitest';
import type { InferContext, InferRequest, LaterSlices, Limits } from '@raccoon/transport';
import { aborted, carriers, good, hello, ManualService, payload, read, readAll, settle } from './support.ts';
import type { Cloud } from './support.ts';

// An image in slices: one credit, one answer, and a cloud that says when it wants to see more.

const failure = (code: string, message?: RegExp): object =>
  expect.objectContaining({
    name: 'TransportError',
    code,
    ...(message ? { message: expect.stringMatching(message) } : {}),
  });

/** A payload that tells image and slice, and `bytes` long. */
const slice = (id: number, sliceIndex: number, moreSlices: boolean, bytes = 2): InferRequest => ({
  id,
  payload: payload(id, sliceIndex, ...new Uint8Array(bytes - 2)),
  sliceIndex,
  moreSlices,
});

function later({ later: slices }: InferContext): LaterSlices {
  if (!slices) throw new Error('an image of one slice');
  return slices;
}

describe.each(carriers)('slices over $name', ({ start }) => {
  let cloud: Cloud | undefined;
  afterEach(async () => {
    await cloud?.stop();
  });

  async function open(limits?: Partial<Limits>) {
    const service = new ManualService();
    cloud = await start(service, limits);
    const transport = cloud.connect();
    return { service, cloud, transport, stream: await transport.openStream(hello) };
  }

  test('the service gets them in order, with one credit for all', async () => {
    const { service, stream } = await open({ maxInFlight: 1 });
    await stream.send({ ...slice(1, 0, true), topK: 3 });
    for (const [index, more] of [true, true, false].entries()) await stream.send(slice(1, index + 1, more));
    const { request, context, answer } = await service.call(1);
    expect(request).toMatchObject({ moreSlices: true, topK: 3 });
    for (const [index, moreSlices] of [true, true, false].entries()) {
      const next = await later(context).next();
      expect([...next.payload]).toEqual([1, index + 1]);
      expect(next).toMatchObject({ id: 1, sliceIndex: index + 1, moreSlices });
    }
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    await stream.send({ id: 2, payload: payload(2) });
    expect((await service.call(2)).context.later).toBeUndefined();
    expect(service.calls).toHaveLength(2);
  });

  test('the cloud asks for the next one, until it is sure', async () => {
    const { service, stream } = await open();
    await stream.send({ ...slice(1, 0, true), stopMargin: 0.75 });
    const { request, context, answer } = await service.call(1);
    expect(request.stopMargin).toBe(0.75);
    const wanted = stream.wantsMore(1);
    const next = later(context).next(0.25);
    expect(await wanted).toBe(true);
    expect(await stream.wantsMore(1)).toBe(true); // and still, until it is sent
    await stream.send(slice(1, 1, true));
    expect((await next).sliceIndex).toBe(1);
    const again = stream.wantsMore(1);
    answer(good(1));
    expect(await again).toBe(false);
    expect(await stream.wantsMore(1)).toBe(false);
    await stream.send(slice(1, 2, false)); // not sent: it is answered
    expect(await read(stream)).toEqual(good(1));
    await stream.send({ id: 1, payload: payload(1) }); // the id is free again
  });

  test('what has come by itself is not asked for', async () => {
    const { service, stream } = await open();
    await stream.send({ ...slice(1, 0, true), stopMargin: 0.75 });
    await stream.send(slice(1, 1, true));
    const { context, answer } = await service.call(1);
    await settle();
    const wanted = stream.wantsMore(1);
    expect((await later(context).next(0.25)).sliceIndex).toBe(1);
    await settle();
    answer(good(1));
    expect(await wanted).toBe(false);
  });

  test.each<[string, InferRequest[], string, RegExp]>([
    ['one too early', [slice(1, 2, false)], 'bad-request', /slice 2 of request 1 where slice 1 must be/],
    ['one twice', [slice(1, 1, true), slice(1, 1, false)], 'bad-request', /slice 1 .* where slice 2 must be/],
    [
      'one after the last',
      [slice(1, 1, false), slice(1, 2, false)],
      'bad-request',
      /had its last slice before/,
    ],
    [
      'more than four',
      [1, 2, 3].map((index) => slice(1, index, true)),
      'bad-request',
      /slice 3 of request 1 is not the last, and no image has more than 4/,
    ],
  ])('the wrong slice: %s', async (_, sent, code, message) => {
    const { service, stream } = await open();
    await stream.send(slice(1, 0, true));
    const { context } = await service.call(1);
    for (const request of sent) await stream.send(request);
    await settle();
    for (const request of sent.slice(0, -1))
      expect((await later(context).next()).sliceIndex).toBe(request.sliceIndex);
    await expect(later(context).next()).rejects.toEqual(failure(code, message));
    await expect(later(context).next(0)).rejects.toEqual(failure(code)); // and nobody is asked for more
    await stream.send({ id: 2, payload: payload(2) });
    (await service.call(2)).answer(good(2));
    expect(await read(stream)).toEqual(good(2));
  });

  test('the limit of bytes is that of all slices together', async () => {
    const { service, stream } = await open({ maxPayloadBytes: 100 });
    await stream.send(slice(1, 0, true, 40));
    await stream.send(slice(1, 1, true, 40));
    const tooMany = failure('payload-too-large', /the slices have 101 bytes, the cloud takes 100/);
    await expect(stream.send(slice(1, 2, false, 21))).rejects.toEqual(tooMany);
    const { context, answer } = await service.call(1);
    await aborted(context.signal); // the client has taken it back
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
  });

  test('a cancel between two slices', async () => {
    const { service, stream } = await open();
    await stream.send({ ...slice(1, 0, true), stopMargin: 1 });
    const { context, answer } = await service.call(1);
    const next = later(context).next(0.5);
    void next.then(() => expect.unreachable());
    expect(await stream.wantsMore(1)).toBe(true);
    stream.cancel(1);
    await aborted(context.signal);
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    expect(await stream.wantsMore(1)).toBe(false);
  });

  test('after end(), images are sent to their last slice', async () => {
    const { service, stream } = await open();
    await stream.send(slice(1, 0, true));
    stream.end();
    const { context, answer } = await service.call(1);
    await settle();
    await stream.send(slice(1, 1, false));
    expect((await later(context).next()).sliceIndex).toBe(1);
    answer(good(1));
    expect(await readAll(stream)).toEqual([good(1)]);
  });

  test('a cloud that leaves takes the slices of the images that it has', async () => {
    const { service, cloud: running, stream } = await open();
    await stream.send({ ...slice(1, 0, true), stopMargin: 1 });
    const { context, answer } = await service.call(1);
    const drained = running.drain(60_000);
    await settle();
    const next = later(context).next(0.5);
    expect(await stream.wantsMore(1)).toBe(true);
    await stream.send(slice(1, 1, false));
    expect((await next).sliceIndex).toBe(1);
    answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    await drained;
  });

  test('an image whose slices do not come is answered for, and what comes then is passed over', async () => {
    const { service, stream } = await open({ maxInFlight: 1, messageTimeoutMs: 30 });
    await stream.send({ ...slice(1, 0, true), stopMargin: 1 });
    const { context } = await service.call(1);
    void later(context).next(0.5);
    expect(await read(stream)).toMatchObject({ id: 1, error: { code: 'deadline' } });
    await aborted(context.signal);
    expect(await stream.wantsMore(1)).toBe(false);
  });

  test('a link that breaks between two slices', async () => {
    const { service, cloud: running, stream } = await open();
    await stream.send({ ...slice(1, 0, true), stopMargin: 1 });
    const { context } = await service.call(1);
    const wanted = stream.wantsMore(1);
    const problem = failure('unavailable', /the link to .* broke/);
    const refused = expect(wanted).rejects.toEqual(problem);
    running.cut();
    await refused;
    await aborted(context.signal);
    await expect(stream.wantsMore(1)).rejects.toEqual(problem);
    await expect(stream.send(slice(1, 1, false))).rejects.toEqual(problem);
  });

  test('a call without a stream takes an image as one', async () => {
    const { service, transport } = await open();
    for (const part of [slice(3, 0, true), slice(3, 1, false)]) {
      const response = await transport.inferOnce(part);
      expect(response).toMatchObject({
        error: { code: 'bad-request', message: expect.stringMatching(/open a stream/) },
      });
    }
    expect(service.calls).toEqual([]);
  });
});
