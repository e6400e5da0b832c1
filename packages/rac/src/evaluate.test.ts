import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectTo, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stemOf, type Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { startCloud } from '@raccoon/cloud';
import { HEADER_BYTES } from '@raccoon/codec';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { evaluatePoints, evaluateWay, type Evaluation } from './evaluate.ts';
import { openWay, type Method } from './methods.ts';
import { listImageFolder, type LabelledPhoto } from './photos.ts';
import { openPowerMeter } from './power.ts';

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
  expect(row.top1Interval[0]).toBeLessThanOrEqual(row.top1);
  expect(row.top1Interval[1]).toBeGreaterThanOrEqual(row.top1);
  expect(row.peakMemoryMiB).toBeGreaterThan(20);
  expect(row.photos.map(({ photo }) => photo)).toEqual([
    'n01443537/goldfish.jpg',
    'n01514859/hen.jpg',
    'n07920052/espresso.jpg',
  ]);
}

async function evaluate(method: Method, of: Bundle = bundle): Promise<Evaluation> {
  const way = await openWay(of, method, { threads: 1 });
  try {
    return await evaluateWay(of, way, photos, { noise: method.noise });
  } finally {
    await way.close();
  }
}

test('every point gets a row through the real codec and a real socket', async () => {
  const { points } = bundle.manifest;
  const chosen = [0, points.length - 1];
  const progress: number[] = [];
  const rows = await evaluatePoints(bundle, photos, chosen, (done, total) => {
    expect(total).toBe(6);
    progress.push(done);
  });
  expect(progress).toEqual([0, 1, 2, 3, 3, 4, 5, 6]); // 0: warm, counting begins
  expect(rows.map(({ point, n, q }) => ({ point, n, q }))).toEqual(
    chosen.map((point) => ({ point, n: points[point]!.n, q: points[point]!.q })),
  );
  for (const row of rows) {
    expectAccuracies(row);
    expect(row.edgeMacs).toBe(points[row.point]!.edgeMacs);
    expect(row.payloadBpp).toBeCloseTo((8 * row.bytesPerImage) / (224 * 224), 9);
    expect(row.wireBpp).toBeGreaterThan(row.payloadBpp);
    expect(row.edgeParameters).toBeGreaterThan(10_000);
    expect(row.entropyMs).toBeLessThan(row.encodeMs.p95);
    expect(row.bytes.words + row.bytes.flush + row.bytes.header).toBeCloseTo(row.bytesPerImage, 9);
    expect(row.bytes.header).toBe(HEADER_BYTES);
    // everything on the wire is one of these, and the fields of one request are few
    const { protobuf, grpc, http2 } = row.bytes;
    expect(((row.bytesPerImage + protobuf + grpc + http2) * 8) / (224 * 224)).toBeCloseTo(row.wireBpp!, 9);
    expect(protobuf).toBeGreaterThan(5);
    expect(protobuf).toBeLessThan(20);
    expect(http2).toBeGreaterThanOrEqual(9);
    expect(protobuf + grpc + http2).toBeLessThanOrEqual(40);
    // the coder wastes next to nothing over what the tables say
    expect(Math.abs(row.bytes.words - row.bytes.estimated)).toBeLessThan(0.03 * row.bytes.estimated);
  }
  expect(rows[0]!.bytesPerImage).toBeLessThan(rows[1]!.bytesPerImage);
});

/** A TCP proxy that knows nothing of the harness; it counts by the system's own number of bytes read. */
async function countingProxy(port: number): Promise<{ address: string; sent(): number; close(): void }> {
  const clients: Socket[] = [];
  const server = createServer((client) => {
    clients.push(client);
    const target = connectTo(port, '127.0.0.1');
    client.pipe(target).pipe(client);
    for (const end of [client, target]) end.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent: () => clients.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
    close: () => void server.close(),
  };
}

test('wire bytes are those that a proxy on the same socket counts', async () => {
  const cloud = await startCloud({ bundle, listen: '127.0.0.1:0', workers: 1 });
  const proxy = await countingProxy(cloud.port);
  let [before, after] = [0, 0];
  const count = (done: number, total: number): void => {
    if (done === 0) before = proxy.sent();
    if (done === total) after = proxy.sent();
  };
  const [row] = await evaluatePoints(bundle, photos, [3], count, { cloud: proxy.address });
  expect(before).toBeGreaterThan(row!.photos[0]!.bytes); // the warm-up, which is not of the row
  expect((row!.wireBpp! * 224 * 224 * photos.length) / 8).toBeCloseTo(after - before, 6);
  proxy.close();
  await cloud.close();
});

test('noise is on the pixels of every way, the same for all; a file that is sent as it is has none', async () => {
  const point = 3;
  const [clean] = await evaluatePoints(bundle, photos, [point]);
  const noisy = await evaluate({ kind: 'point', point, inProcess: true, noise: 0.3 });
  expectAccuracies(noisy);
  expect(noisy.bytesPerImage).not.toBe(clean!.bytesPerImage);
  expect(noisy.exitTop1).toBeUndefined();
  const jpeg = { kind: 'image', format: 'jpeg', quality: 40, effort: 1 } as const;
  const [file, noisyFile] = [await evaluate(jpeg), await evaluate({ ...jpeg, noise: 0.3 })];
  expect(noisyFile.bytesPerImage).toBeGreaterThan(1.5 * file.bytesPerImage); // noise is dear
  const unsplit = await evaluate({ kind: 'unsplit', noise: 1 });
  expect(unsplit.top1).toBeLessThan((await evaluate({ kind: 'unsplit' })).top1);
  await expect(evaluate({ kind: 'original', noise: 0.1 })).rejects.toThrow('nothing can be added to it');
});

test('in one process there is no wire, and the answers are the same', async () => {
  const point = 3;
  const [row] = await evaluatePoints(bundle, photos, [point]);
  const local = await evaluate({ kind: 'point', point, inProcess: true });
  expect(local).toMatchObject({
    wireBpp: null,
    payloadBpp: row!.payloadBpp,
    top5: row!.top5,
    photos: row!.photos,
  });
});

test('energy is worked out from processor time where no counter can be read', async () => {
  const way = await openWay(bundle, { kind: 'original' }, {});
  const { energyMillijoule } = await evaluateWay(bundle, way, photos, { meter: openPowerMeter(5, folder) });
  await way.close();
  expect(energyMillijoule).toEqual({ value: expect.any(Number), source: 'modelled' });
  expect((await evaluate({ kind: 'original' })).energyMillijoule).toBeNull();
});

test('the unsplit network sends nothing', async () => {
  const row = await evaluate({ kind: 'unsplit' });
  expectAccuracies(row);
  const { classifier } = bundle.manifest;
  expect(row).toMatchObject({
    payloadBpp: 0,
    wireBpp: null,
    bytesPerImage: 0,
    entropyMs: null,
    cloudMs: 0,
    edgeMacs: stemOf(bundle.manifest).macs + classifier.macs,
  });
  const original = await evaluate({ kind: 'original' });
  expect(original.photos.map(({ right }) => right)).toEqual(row.photos.map(({ right }) => right));
  expect(original.photos.map(({ bytes }) => bytes)).toEqual(photos.map(({ path }) => statSync(path).size));
});

test('an image codec costs bytes by its quality, and the edge no network', async () => {
  for (const format of ['jpeg', 'webp', 'avif'] as const) {
    const rows = [];
    for (const quality of [10, 80]) {
      rows.push(await evaluate({ kind: 'image', format, quality, effort: 0 }));
      expectAccuracies(rows.at(-1)!);
      expect(rows.at(-1)).toMatchObject({ edgeMacs: 0, edgeParameters: 0, wireBpp: null });
    }
    expect(rows[0]!.bytesPerImage).toBeLessThan(rows[1]!.bytesPerImage);
  }
});

test('raw features give what the network gives; as float32 exactly', async () => {
  const unsplit = await evaluate({ kind: 'unsplit' });
  const stem = await evaluate({ kind: 'stem', type: 'float32', level: 3 });
  expect(stem.photos.map(({ right }) => right)).toEqual(unsplit.photos.map(({ right }) => right));
  expect(stem.edgeMacs).toBe(stemOf(bundle.manifest).macs);
  const small = await evaluate({ kind: 'stem', type: 'int8', level: 3 });
  expect(small.bytesPerImage).toBeLessThan(stem.bytesPerImage / 3);

  // the latent of the deepest encoder, answered as at its highest rate
  const point = bundle.manifest.points.findIndex(({ n, q }) => n === 8 && q === 5);
  const [coded] = await evaluatePoints(bundle, photos, [point]);
  const latent = await evaluate({ kind: 'latent', type: 'float32', level: 3 });
  expect(latent).toMatchObject({ top1: coded!.top1, top5: coded!.top5, edgeMacs: coded!.edgeMacs });
  expect(latent.bytesPerImage).toBeGreaterThan(10 * coded!.bytesPerImage);
});

test('a bundle without its stem has nothing unsplit, and one without a local exit has no exit', async () => {
  const { stem: _, ...manifest } = bundle.manifest;
  const imported = { ...bundle, manifest };
  await expect(evaluate({ kind: 'unsplit' }, imported)).rejects.toMatchObject({ code: 'no-stem' });
  await expect(evaluate({ kind: 'original' }, imported)).rejects.toMatchObject({ code: 'no-stem' });
  const { exit: __, ...without } = bundle.manifest;
  await expect(
    evaluatePoints({ ...bundle, manifest: without }, photos, [0], undefined, { exit: true }),
  ).rejects.toThrow('has no local exit');
});

test('a folder that is no class of the bundle, or a photo that cannot be read, is named', async () => {
  const stranger = { path: photos[0]!.path, wnid: 'n99999999' };
  await expect(evaluatePoints(bundle, [stranger], [0])).rejects.toThrow('has no class n99999999');
  const way = await openWay(bundle, { kind: 'unsplit' }, {});
  await expect(evaluateWay(bundle, way, [stranger])).rejects.toThrow('has no class n99999999');
  await way.close();

  const broken = { path: join(folder, 'broken.jpg'), wnid: photos[0]!.wnid };
  writeFileSync(broken.path, 'not a photo');
  // those on their way fail with it, and must not go unheard
  await expect(evaluatePoints(bundle, [...photos, broken], [0])).rejects.toThrow('broken.jpg');
});
