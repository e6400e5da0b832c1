import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Manifest } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { labelOf } from './methods.ts';
import { emptyResults, ResultsStore, type Circumstances } from './results-store.ts';
import { parseResults, type ResultRow } from './results.ts';

let folder: string;
let file: string;
let manifest: Manifest;
let circumstances: Circumstances;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-results-'));
  file = join(folder, 'results.json');
  manifest = (await openBundle('imagenet1k-mobilenet')).manifest;
  circumstances = {
    command: 'raccoon eval --data val',
    manifest,
    photos: [{ path: 'val/n01443537/1.jpg', wnid: 'n01443537' }],
    dataName: 'val',
    seed: null,
    threads: 1,
  };
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (change: Partial<Circumstances> = {}): ResultsStore =>
  new ResultsStore(file, emptyResults({ ...circumstances, ...change }));

const rowOf = (point: number, top1 = 50): ResultRow => ({
  ...labelOf(manifest, { kind: 'point', point }),
  images: 1,
  top1,
  top5: top1,
  payloadBpp: 0.2,
  wireBpp: null,
  bytesPerImage: 1254.4,
  encodeMs: null,
  entropyMs: null,
  cloudMs: null,
  edgeMacs: null,
  edgeParameters: null,
  peakMemoryMiB: null,
  energyMillijoule: null,
});

test('every row is in the file from then on, and nothing else is in the folder', () => {
  const store = open();
  store.put(rowOf(0));
  expect(readdirSync(folder)).toEqual(['results.json']);
  expect(parseResults(JSON.parse(readFileSync(file, 'utf8')), file).rows).toEqual([rowOf(0)]);
  store.put(rowOf(1));
  expect(parseResults(JSON.parse(readFileSync(file, 'utf8')), file)).toEqual(store.results);
  expect(readdirSync(folder)).toEqual(['results.json']);
});

test('rows are found again, of the same name only, and are replaced by newer ones', () => {
  open().put(rowOf(0));
  const again = open();
  expect(again.find(rowOf(0))).toEqual(rowOf(0));
  expect(again.find(rowOf(1))).toBeUndefined();
  expect(again.find(labelOf(manifest, { kind: 'point', point: 0, exit: true }))).toBeUndefined();
  again.put(rowOf(0, 60));
  expect(open().results.rows).toEqual([rowOf(0, 60)]);
});

test('another command adds its rows, and is kept beside the first', () => {
  open().put(rowOf(0));
  open({ command: 'raccoon eval -n 4' }).put(rowOf(1));
  open().put(rowOf(2));
  expect(open().results).toMatchObject({
    command: 'raccoon eval --data val\nraccoon eval -n 4',
    rows: [rowOf(0), rowOf(1), rowOf(2)],
  });
});

test('rows of something else are not mixed with', () => {
  open().put(rowOf(0));
  const refused = (change: Partial<Circumstances>): unknown => {
    try {
      return open(change);
    } catch (error) {
      return (error as Error).message;
    }
  };
  const { photos } = circumstances;
  const files = { ...manifest.files, 'decoder.onnx': { bytes: 1, sha256: '0'.repeat(64) } };
  const remedy = ': give another --out, or remove it';
  expect(refused({ manifest: { ...manifest, version: '9.0.0' } })).toBe(
    `${file} holds rows of imagenet1k-mobilenet ${manifest.version}${remedy}`,
  );
  expect(refused({ manifest: { ...manifest, files } })).toContain('rows of another imagenet1k-mobilenet');
  expect(refused({ photos: [...photos, ...photos] })).toContain('rows of 1 photos of val');
  expect(refused({ seed: 1 })).toContain('rows of 1 photos of val');
  expect(refused({ dataName: 'test' })).toContain('rows of 1 photos of val');
  expect(refused({ photos: [{ path: 'x.jpg', wnid: 'n01443537' }] })).toContain('rows of other photos');
  expect(refused({ threads: 2 })).toContain('rows of 1 threads');
  // where the photos are does not matter, and what was recorded in the manifest does not
  expect(open({ photos: [{ path: '/elsewhere/1.jpg', wnid: 'n01443537' }] }).results.rows).toHaveLength(1);
  expect(open({ manifest: { ...manifest, description: 'measured' } }).results.rows).toHaveLength(1);
});

test('a file that is no results is not written over', () => {
  writeFileSync(file, '{"rows": [');
  expect(open).toThrow(`${file} is not JSON: give another --out, or remove it`);
  writeFileSync(file, '{"rows": []}');
  expect(open).toThrow('is no raccoon-results file');
  expect(readFileSync(file, 'utf8')).toBe('{"rows": []}');
});
