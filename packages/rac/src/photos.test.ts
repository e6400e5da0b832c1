import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listImageFolder, samplePhotos, type LabelledPhoto } from './photos.ts';

describe('an ImageFolder', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'raccoon-photos-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('lists photos by class and name, and nothing else', async () => {
    for (const path of [
      'n02/b.JPG',
      'n02/a.png',
      'n02/notes.txt',
      'n01/z.jpeg',
      'n01/y.webp',
      'readme.jpg',
    ]) {
      mkdirSync(join(folder, path, '..'), { recursive: true });
      writeFileSync(join(folder, path), '');
    }
    const photos = await listImageFolder(folder);
    expect(photos).toEqual(
      ['n01/y.webp', 'n01/z.jpeg', 'n02/a.png', 'n02/b.JPG'].map((path) => ({
        path: join(folder, path),
        wnid: path.slice(0, 3),
      })),
    );
  });

  test('says what is wrong with a folder', async () => {
    await expect(listImageFolder(folder)).rejects.toThrow(`no photos in ${folder}`);
    await expect(listImageFolder(join(folder, 'other'))).rejects.toThrow('other is not a folder');
  });
});

const counts = (sample: readonly LabelledPhoto[]): number[] =>
  ['a', 'b', 'c'].map((wnid) => sample.filter((photo) => photo.wnid === wnid).length);

describe('a sample', () => {
  /** Classes with 50, 30 and 2 photos. */
  const photos: LabelledPhoto[] = Object.entries({ a: 50, b: 30, c: 2 }).flatMap(([wnid, count]) =>
    Array.from({ length: count }, (_, i) => ({ wnid, path: `${wnid}/${i}` })),
  );
  test('is balanced over classes, as far as they have photos', () => {
    expect(counts(samplePhotos(photos, 6))).toEqual([2, 2, 2]);
    expect(counts(samplePhotos(photos, 22))).toEqual([10, 10, 2]);
    expect(counts(samplePhotos(photos, 81))).toEqual([49, 30, 2]);
    const [a, b, c] = counts(samplePhotos(photos, 7));
    expect([a! + b!, c]).toEqual([5, 2]);
  });

  test('has no photo twice', () => {
    const sample = samplePhotos(photos, 60);
    expect(new Set(sample.map((photo) => photo.path)).size).toBe(60);
  });

  test('is the same for the same seed and another for another; what was given stays as it was', () => {
    const before = [...photos];
    const sample = samplePhotos(photos, 20, 7);
    expect(samplePhotos(photos, 20, 7)).toEqual(sample);
    expect(samplePhotos(photos, 20, 8)).not.toEqual(sample);
    expect(photos).toEqual(before);
  });

  test('the last partial round favours no class', () => {
    const first = Array.from({ length: 40 }, (_, seed) => samplePhotos(photos, 1, seed)[0]!.wnid);
    expect(new Set(first)).toEqual(new Set(['a', 'b', 'c']));
  });

  test('is everything when the limit is not below', () => {
    expect(samplePhotos(photos, 82)).toEqual(photos);
    expect(samplePhotos(photos, 1000)).toEqual(photos);
  });
});
