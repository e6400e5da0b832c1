import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codecId } from '@raccoon/codec';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bundleBytes, loadBundle, verifyBundle, type Bundle } from './bundle.ts';
import { findPoint, parseManifest, stemOf, type Manifest } from './manifest.ts';
import { folderSource, openBundle } from './node/index.ts';

const LATENT_SPACE = '00112233445566778899aabbccddeeff';

/** Two points, one channel, one table of two equally probable symbols and the escape. */
const TABLES = hex(`
  52544142 01 02 0100
  0000803f 00000040  00000000 00000000  0000 0000
  524e5442 01 01  00 03 ffff01 ffff01  05ea5187`);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-bundle-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function hex(text: string): Buffer {
  return Buffer.from(text.replace(/\s/g, ''), 'hex');
}

/** A small valid bundle in `folder`; the networks are a few bytes, for nothing here runs them. */
async function writeBundle(tables: Uint8Array = TABLES): Promise<Manifest> {
  const files: Record<string, Uint8Array> = {
    'tables.bin': tables,
    'encoder.onnx': Buffer.from('encoder'),
    'decoder.onnx': Buffer.from('decoder'),
    'classifier.onnx': Buffer.from('classifier'),
    'stem.onnx': Buffer.from('stem'),
  };
  const point = { encoder: 'encoder.onnx', edgeMacs: 1000 };
  const manifest: Manifest = {
    format: 'raccoon-bundle',
    formatVersion: 0,
    name: 'small',
    version: '0.1.0',
    licence: 'Apache-2.0',
    description: 'two points, two classes',
    provenance: {},
    latentSpaceId: LATENT_SPACE,
    codecs: [{ id: await codecId(tables, LATENT_SPACE), tables: 'tables.bin' }],
    input: {
      width: 8,
      height: 8,
      shortSide: 9,
      filter: 'bilinear-antialias',
      mean: [0, 0, 0],
      std: [1, 1, 1],
    },
    latent: { channels: 1, height: 1, width: 1 },
    features: { channels: 1, height: 1, width: 1 },
    points: [
      { n: 0, q: 0, ...point, expectedBpp: 0.2 },
      { n: 0, q: 1, ...point, expectedBpp: 0.4 },
    ],
    defaultPoint: 1,
    decoder: { file: 'decoder.onnx', macs: 1 },
    classifier: { file: 'classifier.onnx', macs: 1 },
    stem: { file: 'stem.onnx', macs: 1 },
    classes: [
      { wnid: 'n01443537', name: 'goldfish' },
      { wnid: 'n01514859', name: 'hen' },
    ],
    files: Object.fromEntries(
      Object.entries(files).map(([name, bytes]) => [
        name,
        { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') },
      ]),
    ),
  };
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  write('manifest.json', JSON.stringify(manifest));
  return manifest;
}

function write(file: string, content: string | Uint8Array): void {
  writeFileSync(join(folder, file), content);
}

/** Writes the manifest again with some of its fields changed. */
function rewrite(manifest: Manifest, changes: object): void {
  write('manifest.json', JSON.stringify({ ...manifest, ...changes }));
}

const load = (): Promise<Bundle> => loadBundle(folderSource(folder));

test('a good bundle loads, verifies and gives the manifest back', async () => {
  const manifest = await writeBundle();
  const bundle = await load();
  await verifyBundle(bundle);
  expect(bundle.manifest).toEqual(manifest);
  expect(parseManifest(JSON.stringify(bundle.manifest), folder)).toEqual(manifest);
  expect(bundle.codec.id).toBe(manifest.codecs[0]!.id);
  expect([...bundle.codecs.keys()]).toEqual([bundle.codec.id]);
  expect(bundle.codec.tables).toMatchObject({ points: 2, channels: 1, gain: Float32Array.of(1, 2) });
  expect(await bundle.read('stem.onnx')).toEqual(Uint8Array.from(Buffer.from('stem')));
  expect(bundleBytes(manifest)).toBe(TABLES.length + 'encoderdecoderclassifierstem'.length);
  expect(findPoint(manifest, 0, 1)).toBe(1);
});

test('what a manifest may have, or lack', async () => {
  const manifest = await writeBundle();
  const [low, high] = manifest.points;
  const measured = { data: 'some', images: 9, top1: 60, top5: 80, payloadBpp: 0.21 };
  const prefixes = [{ channels: 1, top1: 60, payloadBpp: 0.21 }];
  const int8 = { ...high!, precision: 'int8' as const };
  const points = [
    { ...low!, measured },
    { ...int8, measured: { ...measured, exitTop1: 12.5, prefixes } },
  ];
  const { 'stem.onnx': _, ...files } = manifest.files;
  rewrite(manifest, { stem: undefined, files, points, exit: { output: 'exit_logits' } });
  const bundle = await load();
  await verifyBundle(bundle);
  expect(bundle.manifest).toMatchObject({ points, exit: { output: 'exit_logits' } });
  expect(() => stemOf(bundle.manifest)).toThrow(expect.objectContaining({ code: 'no-stem' }));
  expect(stemOf(manifest)).toEqual({ file: 'stem.onnx', macs: 1 });

  expect(findPoint(bundle.manifest, 0, 0)).toBe(0);
  expect(findPoint(bundle.manifest, 0, 0, 'float32')).toBe(0);
  expect(findPoint(bundle.manifest, 0, 1, 'int8')).toBe(1);
  expect(() => findPoint(bundle.manifest, 0, 1)).toThrow('no point n=0 q=1; it has n=0 q=0, n=0 q=1 int8');
  expect(() => findPoint(bundle.manifest, 0, 0, 'int8')).toThrow('no point n=0 q=0 int8; it has');
});

test('the bundle that ships verifies', async () => {
  await verifyBundle(await openBundle('imagenet1k-mobilenet'));
});

const fails = (code: string, message: RegExp | string): Promise<void> =>
  expect(load()).rejects.toMatchObject({
    name: 'BundleError',
    code,
    message: expect.stringMatching(message),
  });

describe('what is wrong has a code', () => {
  test('not-found', async () => {
    await expect(openBundle(folder)).rejects.toMatchObject({ code: 'not-found' });
    await expect(openBundle('no-such-bundle')).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('raccoon bundle list'),
    });
  });

  test('manifest-syntax', async () => {
    write('manifest.json', '{"format": ');
    await fails('manifest-syntax', 'not JSON');
  });

  test('manifest-version', async () => {
    rewrite(await writeBundle(), { formatVersion: 1, later: 'whatever' });
    await fails('manifest-version', 'version 1, this program reads 0');
  });

  test.each([
    ['a field that is missing', { name: undefined }, 'name'],
    ['a field that nobody knows', { extra: 1 }, 'extra'],
    ['a value of the wrong kind', { defaultPoint: '1' }, 'defaultPoint'],
    ['a file outside of the folder', { decoder: { file: '../decoder.onnx', macs: 1 } }, 'decoder.file'],
    ['a file that is not listed', { decoder: { file: 'other.onnx', macs: 1 } }, 'other.onnx'],
    ['a name of every object', { decoder: { file: 'constructor', macs: 1 } }, 'constructor'],
    ['a default point that is not there', { defaultPoint: 2 }, '2 of 2 points'],
    ['no points', { points: [] }, 'points'],
    ['a local exit without its output', { exit: {} }, 'exit.output'],
    [
      'an arithmetic that nobody has',
      { points: [{ n: 0, q: 0, encoder: 'encoder.onnx', edgeMacs: 1, expectedBpp: 1, precision: 'int4' }] },
      'points.0.precision',
    ],
  ])('manifest-schema: %s', async (_, changes, message) => {
    rewrite(await writeBundle(), changes);
    await fails('manifest-schema', message);
  });

  test.each(['null', '[]', '"manifest"', '{}'])('manifest-schema: %s', async (json) => {
    write('manifest.json', json);
    await fails('manifest-schema', 'manifest.json');
  });

  test('file-missing: no manifest, no tables, no network, nothing by that name', async () => {
    await fails('file-missing', 'manifest.json');
    await writeBundle();
    const bundle = await load();
    rmSync(join(folder, 'decoder.onnx'));
    await expect(verifyBundle(bundle)).rejects.toMatchObject({ code: 'file-missing' });
    await expect(bundle.read('manifest.json')).rejects.toMatchObject({ code: 'file-missing' });
    await expect(bundle.read('toString')).rejects.toMatchObject({ code: 'file-missing' });
    rmSync(join(folder, 'tables.bin'));
    await fails('file-missing', 'tables.bin');
  });

  test('file-size', async () => {
    await writeBundle();
    const bundle = await load();
    write('stem.onnx', 'stems');
    await expect(bundle.read('stem.onnx')).rejects.toMatchObject({
      code: 'file-size',
      message: expect.stringContaining('5 bytes instead of 4'),
    });
  });

  test('file-hash: one bit', async () => {
    await writeBundle();
    write(
      'tables.bin',
      TABLES.map((byte, i) => (i === 20 ? byte ^ 1 : byte)),
    );
    await fails('file-hash', 'tables.bin');
  });

  test('tables: not a tables.bin', async () => {
    await writeBundle(Buffer.from('RTAX'));
    await fails('tables', 'tables.bin: .*RTAB');
  });

  test('tables: other channels, or other points, than the manifest says', async () => {
    const manifest = await writeBundle();
    rewrite(manifest, { latent: { channels: 2, height: 1, width: 1 } });
    await fails('tables', '2 points x 1 channels');
    rewrite(manifest, { points: manifest.points.slice(0, 1), defaultPoint: 0 });
    await fails('tables', 'the manifest 1 x 1');
    rewrite(manifest, { points: [...manifest.points, { ...manifest.points[0]!, q: 2 }] });
    await fails('tables', 'the manifest 3 x 1');
  });

  test('codec-id', async () => {
    rewrite(await writeBundle(), { codecs: [{ id: '0123456789ab', tables: 'tables.bin' }] });
    await fails('codec-id', 'the manifest says 0123456789ab');
  });

  test('unknown-point', async () => {
    const manifest = await writeBundle();
    expect(() => findPoint(manifest, 4, 0)).toThrow('small has no point n=4 q=0; it has n=0 q=0, n=0 q=1');
    expect(() => findPoint(manifest, 4, 0)).toThrow(expect.objectContaining({ code: 'unknown-point' }));
  });
});
