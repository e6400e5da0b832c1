import type { Manifest } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { beforeAll, describe, expect, test } from 'vitest';
import { labelOf, parseBaseline } from './methods.ts';

let manifest: Manifest;
beforeAll(async () => {
  manifest = (await openBundle('imagenet1k-mobilenet')).manifest;
});

describe('a baseline as it is typed', () => {
  test('is a row for each quality, with the usual effort or a given one', () => {
    expect(parseBaseline('jpeg:10,20')).toEqual([
      { kind: 'image', format: 'jpeg', quality: 10, effort: 1 },
      { kind: 'image', format: 'jpeg', quality: 20, effort: 1 },
    ]);
    expect(parseBaseline('webp:5@effort=6')).toEqual([
      { kind: 'image', format: 'webp', quality: 5, effort: 6 },
    ]);
    expect(parseBaseline('stem-int8')).toEqual([{ kind: 'stem', type: 'int8', level: 3 }]);
    expect(parseBaseline('latent-float32@effort=9')).toEqual([{ kind: 'latent', type: 'float32', level: 9 }]);
    expect(parseBaseline('original')).toEqual([{ kind: 'original' }]);
  });

  test.each([
    ['bpg:10', 'bpg:10 is no baseline'],
    ['jpeg', 'jpeg is no baseline'],
    ['stem-int8:10', 'stem-int8:10 is no baseline'],
    ['stem-int4', 'stem-int4 is no baseline'],
    ['original@effort=2', 'is no baseline'],
    ['jpeg:0', 'jpeg:0: 0 is not a whole number from 1 to 100'],
    ['jpeg:10,', 'is not a whole number from 1 to 100'],
    ['avif:10@effort=10', '10 is not a whole number from 0 to 9'],
    ['stem-int8@effort=0', '0 is not a whole number from 1 to 22'],
  ])('%s is refused', (text, why) => {
    expect(() => parseBaseline(text)).toThrow(why);
  });
});

describe('what rows are called', () => {
  test('points are curves by encoder', () => {
    const int8 = manifest.points.findIndex(({ precision }) => precision === 'int8');
    expect(labelOf(manifest, { kind: 'point', point: 3 })).toEqual({
      method: 'raccoon',
      series: 'raccoon n=0',
      point: 'q=3',
      settings: { n: 0, q: 3, precision: 'float32' },
    });
    const noisy = labelOf(manifest, { kind: 'point', point: 3, noise: 0.1 });
    const clean = labelOf(manifest, { kind: 'point', point: 3 });
    expect(noisy).toEqual({ ...clean, settings: { ...clean.settings, noise: 0.1 } });
    expect(labelOf(manifest, { kind: 'point', point: int8, inProcess: true })).toMatchObject({
      series: 'raccoon n=2 int8',
      settings: { precision: 'int8', inProcess: true },
    });
  });

  test('the method is what the caller says, else the manifest, else raccoon', () => {
    const point = { kind: 'point', point: 0 } as const;
    const told = { ...manifest, provenance: { method: 'paper-n4' } };
    expect(labelOf(told, point).method).toBe('paper-n4');
    expect(labelOf(told, point, 'entropic-student')).toMatchObject({
      method: 'entropic-student',
      series: 'entropic-student n=0',
    });
  });

  test('bundles of one point each are the points of one curve', () => {
    const single = { ...manifest, name: 'paper-n4-1.28', points: manifest.points.slice(0, 1) };
    expect(labelOf(single, { kind: 'point', point: 0 }, 'paper-n4')).toMatchObject({
      method: 'paper-n4',
      series: 'paper-n4',
      point: 'paper-n4-1.28',
    });
  });

  test('baselines', () => {
    const names = [
      ...parseBaseline('avif:30'),
      ...parseBaseline('stem-int8'),
      ...parseBaseline('original'),
    ].map((method) => labelOf(manifest, method, 'mine'));
    expect(names).toMatchObject([
      { method: 'avif', series: 'avif effort=4', point: 'quality=30', settings: { quality: 30, effort: 4 } },
      { method: 'raw-int8', series: 'raw-int8 stem', point: 'zstd 3' },
      { method: 'unsplit-cloud', series: 'unsplit-cloud' },
    ]);
    expect(labelOf(manifest, { kind: 'unsplit' })).toMatchObject({ method: 'unsplit-edge', settings: {} });
  });
});
