import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stemOf, type Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { HEADER_BYTES } from '@raccoon/codec';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { evaluateJpeg, evaluatePoints, evaluateUnsplit, type Evaluation } from './evaluate.ts';
import { listImageFolder, type LabelledPhoto } from './photos.ts';

const PHOTOS = { n01443537: ['goldfish'], n01514859: ['hen'], n07920052: ['espresso'] };

let folder: string;
let bundle: Bundle;
let photos: LabelledPhoto[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-evaluate-'));
  for (const [wnid, names] of Object.entries(PHOTOS)) {
    mkdirSync(join(folder, wnid));
    for (const name of names) {
      const from = fileURLToPath(new URL(`../../../samples/${name}.jpg`, import.meta.url));
      copyFileSync(from, join(folder, wnid, `${name}.jpg`));
    }
  }
  bundle = await openBundle('imagenet1k-mobilenet');
  photos = await listImageFolder(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

function expectAccuracies(row: Evaluation): void {
  expect(row.images).toBe(3);
  for (const accuracy of [row.top1, row.top5])
    expect([0, 1, 2, 3]).toContain(Math.round((accuracy * 3) / 100));
  expect(row.top5).toBeGreaterThanOrEqual(row.top1);
}

test('every point gets a row through the real codec and a real socket', async () => {
  const { points } = bundle.manifest;
  const chosen = [0, points.length - 1];
  const progress: number[] = [];
  const rows = await evaluatePoints(bundle, photos, chosen, (done, total) => {
    expect(total).toBe(6);
    progress.push(done);
  });
  expect(progress).toEqual([1, 2, 3, 4, 5, 6]);
  expect(rows.map(({ point, n, q }) => ({ point, n, q }))).toEqual(
    chosen.map((point) => ({ point, n: points[point]!.n, q: points[point]!.q })),
  );
  for (const row of rows) {
    expectAccuracies(row);
    expect(row.edgeMacs).toBe(points[row.point]!.edgeMacs);
    expect(row.payloadBpp).toBeCloseTo((8 * row.bytesPerImage) / (224 * 224), 9);
    expect(row.wireBpp).toBeGreaterThan(row.payloadBpp);
    expect(row.bytes.words + row.bytes.flush + row.bytes.header).toBeCloseTo(row.bytesPerImage, 9);
    expect(row.bytes.header).toBe(HEADER_BYTES);
    // everything on the wire is one of these, and the fields of one request are few
    const { protobuf, grpc, http2 } = row.bytes;
    expect(((row.bytesPerImage + protobuf + grpc + http2) * 8) / (224 * 224)).toBeCloseTo(row.wireBpp, 9);
    expect(protobuf).toBeGreaterThan(5);
    expect(protobuf).toBeLessThan(20);
    expect(http2).toBeGreaterThanOrEqual(9);
    expect(protobuf + grpc + http2).toBeLessThanOrEqual(40);
    // the coder wastes next to nothing over what the tables say
    expect(Math.abs(row.bytes.words - row.bytes.estimated)).toBeLessThan(0.03 * row.bytes.estimated);
  }
  expect(rows[0]!.bytesPerImage).toBeLessThan(rows[1]!.bytesPerImage);
});

test('the unsplit network sends nothing', async () => {
  const row = await evaluateUnsplit(bundle, photos);
  expectAccuracies(row);
  const { classifier } = bundle.manifest;
  expect(row).toMatchObject({
    payloadBpp: 0,
    wireBpp: 0,
    bytesPerImage: 0,
    edgeMacs: stemOf(bundle.manifest).macs + classifier.macs,
  });
});

test('a bundle without its stem has nothing unsplit, and one without a local exit has no exit', async () => {
  const { stem: _, ...manifest } = bundle.manifest;
  const imported = { ...bundle, manifest };
  await expect(evaluateUnsplit(imported, photos)).rejects.toMatchObject({ code: 'no-stem' });
  await expect(evaluateJpeg(imported, photos, 40)).rejects.toMatchObject({ code: 'no-stem' });
  const { exit: __, ...without } = bundle.manifest;
  await expect(
    evaluatePoints({ ...bundle, manifest: without }, photos, [0], undefined, { exit: true }),
  ).rejects.toThrow('has no local exit');
});

test('a folder that is no class of the bundle, or a photo that cannot be read, is named', async () => {
  const stranger = { path: photos[0]!.path, wnid: 'n99999999' };
  await expect(evaluatePoints(bundle, [stranger], [0])).rejects.toThrow('has no class n99999999');
  await expect(evaluateUnsplit(bundle, [stranger])).rejects.toThrow('has no class n99999999');

  const broken = { path: join(folder, 'broken.jpg'), wnid: photos[0]!.wnid };
  writeFileSync(broken.path, 'not a photo');
  // those on their way fail with it, and must not go unheard
  await expect(evaluatePoints(bundle, [...photos, broken], [0])).rejects.toThrow('broken.jpg');
});
