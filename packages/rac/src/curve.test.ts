import { expect, test } from 'vitest';
import { readCurves } from './curve.ts';
import type { ResultRow, ResultsFile } from './results.ts';

function row(series: string, payloadBpp: number, top1: number): ResultRow {
  return {
    method: series,
    series,
    point: `${payloadBpp}`,
    settings: {},
    images: 1,
    top1,
    top5: top1,
    payloadBpp,
    wireBpp: null,
    bytesPerImage: 100,
    encodeMs: null,
    entropyMs: null,
    cloudMs: null,
    edgeMacs: null,
    edgeParameters: null,
    peakMemoryMiB: null,
    energyMillijoule: null,
    photos: [{ photo: 'n01443537/1.jpg', right: top1 > 50, bytes: 100 }],
  };
}

test('every series of a results file with several rates is a curve, by rising rate and with its photos', () => {
  const results: ResultsFile = {
    format: 'raccoon-results',
    version: 1,
    createdAt: '2026-11-21T18:00:00Z',
    command: 'raccoon eval',
    environment: { cpu: 'x', cores: 2, threads: 1, node: '20.19.0', raccoon: '0.1.0' },
    data: { name: 'val', images: 1, seed: null },
    bundle: { name: 'b', version: '1.0.0', classes: 2 },
    rows: [
      row('webp effort=4', 0.9, 70),
      row('webp effort=4', 0.3, 40),
      row('raccoon n=8', 0.1, 50),
      row('raccoon n=8', 0.5, 66),
      row('unsplit-edge', 0, 71),
      row('unsplit-cloud', 1.9, 71),
    ],
  };
  const curves = readCurves(results, 'r.json');
  expect(curves.map(({ name, points }) => [name, points.map(({ bpp }) => bpp)])).toEqual([
    ['r.json#webp effort=4', [0.3, 0.9]],
    ['r.json#raccoon n=8', [0.1, 0.5]],
  ]);
  expect(curves[0]!.points[1]).toEqual({ bpp: 0.9, top1: 70, photos: results.rows[0]!.photos });
  expect(() => readCurves({ ...results, rows: [{}] }, 'r.json')).toThrow('r.json is no raccoon-results file');
});
