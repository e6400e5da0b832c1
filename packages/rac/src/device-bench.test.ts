import { fileURLToPath } from 'node:url';
import { openBundle } from '@raccoon/bundle/node';
import { parseProfile } from '@raccoon/edge';
import { expect, test } from 'vitest';
import { benchDevice } from './device-bench.ts';

const photos = ['hen', 'koala'].map((name) =>
  fileURLToPath(new URL(`../../../samples/${name}.jpg`, import.meta.url)),
);
const once = { warmUps: 0, repeats: 2 };

test('a profile that the schema accepts: a row for each encoder', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const progress: [number, number][] = [];
  const profile = await benchDevice(bundle, photos, {
    ...once,
    threads: [1],
    cpuWatts: 10,
    onProgress: (...of) => progress.push(of),
  });
  expect(parseProfile(JSON.stringify(profile), 'profile')).toEqual(profile);
  expect(profile.bundle).toEqual({ name: bundle.manifest.name, version: bundle.manifest.version });
  const encoders = new Set(bundle.manifest.points.map(({ encoder }) => encoder));
  expect(profile.rows).toHaveLength(encoders.size);
  expect(progress.at(-1)).toEqual([profile.rows.length, profile.rows.length]);
  for (const row of profile.rows) {
    expect(row.macsPerSecond).toBe(row.imagesPerSecond * row.macs);
    expect(row.totalMs.p95).toBeGreaterThanOrEqual(row.totalMs.p50);
    expect(row.bytes).toBeGreaterThan(500);
    expect(row.power!.joulesPerImage).toBeCloseTo(row.power!.watts / row.imagesPerSecond, 9);
  }
});

test('every number of threads, sleeping and spinning', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const ways = { threads: [1, 2], spin: [false, true] };
  const { rows } = await benchDevice(bundle, photos, { ...once, blocks: 0, ...ways });
  expect(rows.map(({ threads, spin }) => [threads, spin])).toEqual([
    [1, false],
    [1, true],
    [2, false],
    [2, true],
  ]);
});

test('one encoder, at another rate: more bytes', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const only = { ...once, blocks: 0, threads: [1] };
  const { rows: low } = await benchDevice(bundle, photos, { ...only, rate: 0 });
  const { rows: high } = await benchDevice(bundle, photos, { ...only, rate: 5 });
  expect(low).toHaveLength(1);
  expect(high[0]!.bytes).toBeGreaterThan(2 * low[0]!.bytes);
  await expect(benchDevice(bundle, photos, { ...only, precision: 'int8' })).rejects.toThrow(
    'has no encoder for these',
  );
});

test('a photo that cannot be read is named', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const wrong = benchDevice(bundle, ['nobody.jpg'], { ...once, blocks: 0, threads: [1] });
  await expect(wrong).rejects.toMatchObject({ code: 'not-found' });
});
