import { openBundle } from '@raccoon/bundle/node';
import {
  TransportError,
  type InferenceService,
  type InferRequest,
  type InferStream,
} from '@raccoon/transport';
import { serveMemory } from '@raccoon/transport/memory';
import { expect, test } from 'vitest';
import { channelEndsAt, sendSlices, type SlicedImage } from './progressive.ts';

const image: SlicedImage = {
  slices: [1, 2, 3].map((size) => new Uint8Array(size)),
  stopMargin: 0.5,
  whole: () => new Uint8Array(5),
};

/** A stream to a cloud that is sure once it has so many slices, or never asks. */
async function open(sureAfter: number, asks = true) {
  const got: InferRequest[] = [];
  const service: Partial<InferenceService> = {
    hello: () => ({ protocol: 1, codecIds: [], bundle: 'b', bundleVersion: '1' }),
    async infer(request, { later }) {
      got.push(request);
      for (let last = request; last.moreSlices && got.length < sureAfter;) {
        last = await later!.next(asks ? 0.1 * got.length : undefined);
        got.push(last);
      }
      const result = { top: [], margin: 0.75 };
      return { id: request.id, result, queueMs: 0, decodeMs: 0, inferMs: 0, bundleVersion: '1' };
    },
  };
  // the test has no use for the rest of a service
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const server = serveMemory(service as InferenceService);
  const hello = { protocolMin: 1, protocolMax: 1, codecIds: [], client: 'test' };
  const stream = await server.connect().openStream(hello);
  return { server, stream, got };
}

async function send(
  stream: InferStream,
  what = image,
): Promise<{ sent: number[]; margin: number | undefined }> {
  const sent: number[] = [];
  await sendSlices(stream, { id: 7, topK: 3 }, what, (bytes) => sent.push(bytes));
  const { value } = await stream.responses[Symbol.asyncIterator]().next();
  return { sent, margin: value?.result?.margin };
}

test.each([
  [1, [1]],
  [2, [1, 2]],
  [3, [1, 2, 3]],
  [4, [1, 2, 3]],
])('a cloud that is sure after %d of 3 slices gets no more', async (sureAfter, expected) => {
  const { stream, got } = await open(sureAfter);
  expect(await send(stream)).toEqual({ sent: expected, margin: 0.75 });
  expect(got.map(({ payload }) => payload.length)).toEqual(expected);
  expect(got[0]).toMatchObject({ id: 7, topK: 3, stopMargin: 0.5, moreSlices: true });
  for (const [i, slice] of got.slice(1).entries()) {
    expect(Object.keys(slice).toSorted()).toEqual(['id', 'moreSlices', 'payload', 'sliceIndex']);
    expect(slice).toMatchObject({ id: 7, sliceIndex: i + 1, moreSlices: i < 1 });
  }
});

test('without a stop margin all slices are sent, and nobody asks', async () => {
  const { stream } = await open(4, false);
  expect((await send(stream, { ...image, stopMargin: 0 })).sent).toEqual([1, 2, 3]);
});

test('an image of one slice is a request as any other', async () => {
  const { stream, got } = await open(1);
  expect((await send(stream, { ...image, slices: [new Uint8Array(9)] })).sent).toEqual([9]);
  expect(got).toMatchObject([{ moreSlices: false }]);
  expect(got[0]).not.toHaveProperty('stopMargin');
});

test('a cloud that takes no slices gets the image as one', async () => {
  const { stream, got } = await open(1);
  const old: InferStream = {
    welcome: { ...stream.welcome, maxSlices: 0 },
    responses: stream.responses,
    send: (request) => stream.send(request),
    wantsMore: (id) => stream.wantsMore(id),
    cancel: (id) => stream.cancel(id),
    end: () => stream.end(),
  };
  expect((await send(old)).sent).toEqual([5]);
  expect(got).toMatchObject([{ id: 7, moreSlices: false }]);
});

test('a link that breaks between two slices', async () => {
  const { server, stream } = await open(3);
  const sending = sendSlices(stream, { id: 7 }, { ...image, slices: [...image.slices] }, () =>
    server.close(),
  );
  await expect(sending).rejects.toBeInstanceOf(TransportError);
});

test('channels end where the shares of the bits do', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const { channels } = bundle.manifest.latent;
  for (const point of bundle.manifest.points.keys()) {
    expect(channelEndsAt(bundle, point, [])).toEqual([channels]);
    expect(channelEndsAt(bundle, point, [1])).toEqual([channels]);
    const quarters = channelEndsAt(bundle, point, [0.25, 0.5, 0.75]);
    expect(quarters).toEqual(quarters.toSorted((a, b) => a - b));
    expect(new Set(quarters).size).toBe(quarters.length);
    expect(quarters.at(-1)).toBe(channels);
    expect(quarters[0]).toBeLessThan(channels / 4); // the important ones come first, and have the bits
  }
  expect(channelEndsAt(bundle, 20, [0.25, 0.5, 0.75])).toEqual([4, 7, 10, 48]);
});
