import { fileURLToPath } from 'node:url';
import { openBundle } from '@raccoon/bundle/node';
import { WIRE_OVERHEAD_BYTES } from '@raccoon/client';
import { expect, test } from 'vitest';
import { evaluateSlices, inOneSlice, stopAt, type SlicedEvaluation } from './progressive.ts';

const evaluation: SlicedEvaluation = {
  point: 0,
  channelEnds: [2, 4, 6],
  photos: [
    { bytes: [100, 50, 30], wholeBytes: 150, margins: [0.9, 0.2, 0.4], right: [true, false, true] },
    { bytes: [200, 60, 40], wholeBytes: 250, margins: [0.1, 0.6, 0.7], right: [false, true, false] },
  ],
};
const wire = (slices: number): number => 7 + slices * WIRE_OVERHEAD_BYTES;

test.each([
  [0, 50, (100 + 200) / 2 + wire(1), 1],
  [0.5, 100, (100 + 260 + wire(1) + wire(2)) / 2, 1.5],
  [0.6, 100, (100 + 260 + wire(1) + wire(2)) / 2, 1.5],
  [0.65, 50, (100 + 300 + wire(1) + wire(3)) / 2, 2],
  [1, 50, (180 + 300) / 2 + wire(3), 3],
])('photos stop at a margin of %d', (stopMargin, top1, bytes, slices) => {
  expect(stopAt(evaluation, stopMargin)).toEqual({ stopMargin, top1, bytes, slices });
});

test('in one slice', () => {
  expect(inOneSlice(evaluation)).toEqual({ top1: 50, bytes: 200 + WIRE_OVERHEAD_BYTES });
});

test('of real photos, slices hold about the shares of the bits that were asked for', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const photos = Object.entries({ n01443537: 'goldfish', n01514859: 'hen' }).map(([wnid, name]) => ({
    wnid,
    path: fileURLToPath(new URL(`../../../samples/${name}.jpg`, import.meta.url)),
  }));
  const progress: number[] = [];
  const point = bundle.manifest.defaultPoint;
  const [row] = await evaluateSlices(bundle, photos, [point], [0.5], (done) => progress.push(done));
  expect(progress).toEqual([1, 2]);
  expect(row).toMatchObject({ point, channelEnds: [expect.any(Number), bundle.manifest.latent.channels] });
  for (const { bytes, wholeBytes, margins, right } of row!.photos) {
    const [first, second] = bytes as [number, number];
    expect(first / (first + second)).toBeGreaterThan(0.3);
    expect(first / (first + second)).toBeLessThan(0.7);
    expect(first + second).toBeGreaterThan(wholeBytes); // a second header, and last states of the coder
    expect(first + second).toBeLessThan(1.1 * wholeBytes);
    expect(right.at(-1)).toBe(true);
    for (const margin of margins) expect(margin).toBeGreaterThan(0);
  }
});

test('photos that fail say why', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const nobody = [{ path: 'nobody.jpg', wnid: 'n01443537' }];
  await expect(evaluateSlices(bundle, nobody, [0], [0.5])).rejects.toThrow('nobody.jpg');
});
