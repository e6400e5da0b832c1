import { fileURLToPath } from 'node:url';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { decodeBitstream } from '@raccoon/codec';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Edge } from '../common/edge.ts';
import { selfTest } from '../common/self-test.ts';
import { openEdge } from './edge.ts';

const hen = fileURLToPath(new URL('../../../../samples/hen.jpg', import.meta.url));

let bundle: Bundle;
let edge: Edge;
beforeAll(async () => {
  bundle = await openBundle('imagenet1k-mobilenet');
  edge = await openEdge(bundle, { threads: 1 });
});
afterAll(() => edge.close());

test('at every operating point, the bitstream says exactly the symbols', async () => {
  const { channels, height, width } = bundle.manifest.latent;
  for (const point of bundle.manifest.points.keys()) {
    const { slices, symbols, ...image } = await edge.encode(hen, point);
    const decoded = decodeBitstream(slices, bundle.codecs);
    expect(decoded).toMatchObject({ point, channels, h: height, w: width, codec: { id: bundle.codec.id } });
    expect(decoded.symbols.every((symbol, i) => symbol === symbols[i])).toBe(true);
    expect(image.point).toBe(point);
    expect(image.bytes).toBe(slices.reduce((sum, slice) => sum + slice.length, 0));
    expect(image.bpp).toBeCloseTo((8 * image.bytes) / (224 * 224), 9);
  }
});

test('an encoder is loaded once, and before it is needed if somebody asks', async () => {
  const asked: string[] = [];
  const read: Bundle['read'] = (file) => {
    asked.push(file);
    return bundle.read(file);
  };
  const early = await openEdge({ ...bundle, read });
  await early.load({ n: 2, precision: 'int8' });
  expect(asked).toEqual(['encoder-n2-int8.onnx']);
  await early.analyse(hen, { n: 2, precision: 'int8' });
  expect(asked).toHaveLength(1);
  await expect(early.load({ n: 3, precision: 'int8' })).rejects.toMatchObject({ code: 'unknown-point' });
  await early.close();
  await expect(early.load({ n: 2, precision: 'int8' })).rejects.toMatchObject({ code: 'closed' });
});

test('the self-test passes at every point of the shipped bundle, and fails where an encoder gives no numbers', async () => {
  await selfTest(edge);
  const nothing: Edge = {
    ...edge,
    encode: async (...args) => ({ ...(await edge.encode(...args)), exitLogits: Float32Array.of(Number.NaN) }),
  };
  await expect(selfTest(nothing)).rejects.toMatchObject({ code: 'self-test' });
});

test('a photo gives the same bytes twice, also when both are under way at once', async () => {
  const [first, second] = await Promise.all([edge.encode(hen), edge.encode(hen)]);
  expect(first.point).toBe(bundle.manifest.defaultPoint);
  expect(second.slices).toEqual(first.slices);
});

test('photos under way at once, in different encoders, give what each gives alone', async () => {
  const photos = ['hen', 'koala', 'bison'].map((name) => hen.replace('hen', name));
  const { points } = bundle.manifest;
  const jobs = photos.flatMap((photo) =>
    [...points.keys()].filter((p) => points[p]!.q === 1).map((p) => ({ photo, p })),
  );
  const together = await Promise.all(jobs.map(({ photo, p }) => edge.encode(photo, p, { exit: true })));
  for (const [i, { photo, p }] of jobs.entries()) {
    const alone = await edge.encode(photo, p, { exit: true });
    expect(together[i]!.slices).toEqual(alone.slices);
    expect(together[i]!.exitLogits).toEqual(alone.exitLogits);
  }
});

test('a photo that was prepared before gives the same bytes, in every encoder and again', async () => {
  const prepared = await edge.prepare(hen);
  const { width, height } = bundle.manifest.input;
  expect(prepared.pixels.length).toBe(3 * width * height);
  for (const n of [0, 8]) {
    const encoder = { n, precision: 'float32' } as const;
    const early = await edge.analyse(prepared, encoder);
    const late = await edge.analyse(prepared, encoder); // the first one keeps its latent
    expect(early.imageMs).toBe(prepared.imageMs);
    const point = bundle.manifest.points.findIndex((of) => of.n === n && of.q === 2);
    const expected = await edge.encode(hen, point);
    expect(edge.code(early, point).slices).toEqual(expected.slices);
    expect(edge.code(late, point).slices).toEqual(expected.slices);
  }
});

test('an edge that is closed lets what runs come to its end, and starts nothing more', async () => {
  const other = await openEdge(bundle, { threads: 1 });
  const prepared = await other.prepare(hen);
  await other.encode(prepared);
  const outcomes = Promise.allSettled([other.encode(prepared), other.encode(prepared)]);
  await other.close();
  for (const outcome of await outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'closed' });
  }
  await expect(other.prepare(hen)).rejects.toMatchObject({ code: 'closed' });
});

test("a photo of the network's size gives the same bytes as a path, as bytes and as pixels", async () => {
  const { width, height } = bundle.manifest.input;
  const path = fileURLToPath(new URL('../../../../test/vectors/preprocess/goldfish.png', import.meta.url));
  const file = await sharp(path).toBuffer();
  const data = new Uint8Array(await sharp(path).raw().toBuffer());
  const expected = await edge.encode(path);
  for (const image of [file, new Uint8Array(file), { data, width, height }]) {
    expect((await edge.encode(image)).slices).toEqual(expected.slices);
  }
});

describe('what is wrong has a code', () => {
  test('a point that is not there', async () => {
    await expect(edge.encode(hen, 99)).rejects.toThrow('point 99');
    await expect(edge.encode(hen, -1)).rejects.toThrow('point -1');
  });

  test('an image that fails leaves the edge as it was', async () => {
    await expect(edge.encode('nobody.jpg')).rejects.toMatchObject({ code: 'not-found' });
    expect((await edge.encode(hen)).bytes).toBeGreaterThan(0);
  });

  test('encoder: not a network', async () => {
    const broken = await openEdge({ ...bundle, read: async () => Uint8Array.of(1, 2, 3) });
    await expect(broken.encode(hen)).rejects.toMatchObject({
      name: 'EdgeError',
      code: 'encoder',
      message: expect.stringContaining('.onnx cannot be loaded'),
    });
    await broken.close();
  });

  test('encoder: another latent than the manifest says', async () => {
    const { latent } = bundle.manifest;
    const manifest = { ...bundle.manifest, latent: { ...latent, channels: latent.channels + 1 } };
    const wrong = await openEdge({ ...bundle, manifest });
    await expect(wrong.encode(hen)).rejects.toMatchObject({ code: 'encoder' });
    await wrong.close();
  });

  test("encoder: the bundle's own error when its file is damaged, and another try after it", async () => {
    let damaged = true;
    const read = (file: string): Promise<Uint8Array<ArrayBuffer>> =>
      damaged ? Promise.reject(new Error(`${file} was changed`)) : bundle.read(file);
    const flaky = await openEdge({ ...bundle, read });
    await expect(flaky.encode(hen)).rejects.toThrow('was changed');
    damaged = false;
    expect((await flaky.encode(hen)).bytes).toBeGreaterThan(0);
    await flaky.close();
  });

  test('closed', async () => {
    const other = await openEdge(bundle);
    await other.encode(hen);
    await other.close();
    await expect(other.encode(hen)).rejects.toMatchObject({ code: 'closed' });
    await other.close();
  });
});
