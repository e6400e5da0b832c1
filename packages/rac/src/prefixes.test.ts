import { fileURLToPath } from 'node:url';
import { openBundle } from '@raccoon/bundle/node';
import { HEADER_BYTES } from '@raccoon/codec';
import { expect, test } from 'vitest';
import { evaluatePoints } from './evaluate.ts';
import { evaluatePrefixes, prefixEnds } from './prefixes.ts';

test('quarters of the channels', () => {
  expect(prefixEnds(48)).toEqual([12, 24, 36, 48]);
  expect(prefixEnds(6)).toEqual([2, 3, 5, 6]);
  expect(prefixEnds(2)).toEqual([1, 2]);
});

test('more channels cost more; all of them are what one slice is', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const photos = Object.entries({ n01443537: 'goldfish', n01514859: 'hen' }).map(([wnid, name]) => ({
    wnid,
    path: fileURLToPath(new URL(`../../../samples/${name}.jpg`, import.meta.url)),
  }));
  const point = bundle.manifest.points.length - 1;
  const progress: number[] = [];
  const [row, ...others] = await evaluatePrefixes(bundle, photos, [point], (done) => progress.push(done));
  expect(others).toEqual([]);
  expect(progress).toEqual([1, 2]);
  expect(row!.point).toBe(point);
  const { prefixes } = row!;
  expect(prefixes.map(({ channels }) => channels)).toEqual(prefixEnds(bundle.manifest.latent.channels));
  for (const [k, { payloadBpp }] of prefixes.entries()) {
    expect(payloadBpp).toBeGreaterThan(k === 0 ? (8 * HEADER_BYTES) / 224 ** 2 : prefixes[k - 1]!.payloadBpp);
  }

  const [whole] = await evaluatePoints(bundle, photos, [point]);
  expect(prefixes.at(-1)!.top1).toBe(whole!.top1);
  // three more headers, and last states of the coder
  expect(prefixes.at(-1)!.payloadBpp).toBeGreaterThan(whole!.payloadBpp);
  expect(prefixes.at(-1)!.payloadBpp).toBeLessThan(whole!.payloadBpp * 1.1);
});

test('photos that fail say why', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const wnid = 'n01443537';
  await expect(evaluatePrefixes(bundle, [{ path: 'nobody.jpg', wnid }], [0])).rejects.toThrow('nobody.jpg');
  await expect(evaluatePrefixes(bundle, [{ path: 'a.jpg', wnid: 'x' }], [0])).rejects.toThrow('no class x');
});
