import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBundle } from '@raccoon/bundle/node';
import type { DeviceProfile } from '@raccoon/edge';
import { parquetReadObjects } from 'hyparquet';
import { describe, expect, onTestFinished, test } from 'vitest';
import { pairedDifference } from '../compare.ts';
import type { Curve } from '../curve.ts';
import { delta } from '../delta.ts';
import { plotSvg, type Plot } from '../plot.ts';
import { mulberry32 } from '../random.ts';
import type { ResultRow, ResultsFile } from '../results.ts';
import { analyse, type Analysis } from './analysis.ts';
import { interval, resample } from './bands.ts';
import { collectResults, type CollectedFile } from './collect.ts';
import { differenceColumns, flatPhotos, flatRows, photoColumns, rowColumns } from './columns.ts';
import { csv } from './csv.ts';
import { markdown } from './markdown.ts';
import { page } from './page.ts';
import { paretoSet } from './pareto.ts';
import { parquet } from './parquet.ts';
import { channelsPlot } from './plots.ts';
import { readPublished } from './published.ts';
import { report } from './report.ts';
import { seriesOf, type Series } from './series.ts';
import { atRate, curveDifference, differenceAt } from './versus.ts';
import { writeReport } from './write.ts';

const PHOTOS = 400;
/** How hard each photo is for everybody. */
const hardness = Float64Array.from({ length: PHOTOS }, mulberry32(7));

/** A method that has `top1` percent right at `bpp`, more or less: hard photos are wrong first. */
function row(
  method: string,
  series: string,
  point: string,
  bpp: number,
  top1: number,
  more: Partial<ResultRow> = {},
): ResultRow {
  const random = mulberry32(Buffer.from(series + point).reduce((sum, byte) => 31 * sum + byte, 7));
  const photos = Array.from(hardness, (hard, i) => ({
    photo: `n01440764/${i}.jpg`,
    right: hard + 0.2 * (random() - 0.5) < top1 / 100,
    bytes: Math.round((bpp * 224 * 224 * (0.7 + 0.6 * random())) / 8),
  }));
  const bytesPerImage = photos.reduce((sum, { bytes }) => sum + bytes, 0) / PHOTOS;
  return {
    method,
    series,
    point,
    settings: { point },
    images: PHOTOS,
    top1: (100 * photos.filter(({ right }) => right).length) / PHOTOS,
    top5: 90,
    payloadBpp: (8 * bytesPerImage) / 224 / 224,
    wireBpp: null,
    bytesPerImage,
    encodeMs: { p50: 4, p95: 6 },
    entropyMs: 0.1,
    cloudMs: 5,
    edgeMacs: 1e8,
    edgeParameters: 1e6,
    peakMemoryMiB: null,
    energyMillijoule: null,
    photos,
    ...more,
  };
}

const CODEC: Partial<ResultRow> = { edgeMacs: 0, entropyMs: null, encodeMs: { p50: 1, p95: 2 } };

function file(rows: ResultRow[], more: Partial<ResultsFile> = {}): ResultsFile {
  return {
    format: 'raccoon-results',
    version: 1,
    createdAt: '2026-11-21T12:00:00.000Z',
    command: 'raccoon eval --data "photos, mine" --out a.json',
    environment: { cpu: 'A processor', cores: 2, threads: 2, node: '20.19.0', raccoon: '0.1.0' },
    data: { name: 'photos', images: PHOTOS, seed: 1 },
    bundle: { name: 'a-bundle', version: '1.0.0', classes: 20 },
    rows,
    ...more,
  };
}

const collected = (...results: ResultsFile[]): CollectedFile[] =>
  results.map((of, i) => ({ path: `${i}.json`, results: of }));

const rates = [0.105, 0.2, 0.4, 0.8];
const ours = (n: number, gain = 0, more: Partial<ResultRow> = {}): ResultRow[] =>
  rates.map((bpp, q) => {
    const name = `raccoon n=${n}`;
    return row('raccoon', name, `q=${q}`, bpp, 50 + 5 * q + gain, { settings: { n, q }, ...more });
  });
const webp = (): ResultRow[] =>
  [0.3, 0.6, 1.2].map((bpp, i) => row('webp', 'webp effort=4', `quality=${i}`, bpp, [30, 45, 66][i]!, CODEC));
const unsplit = (): ResultRow[] => {
  const free = { payloadBpp: 0, bytesPerImage: 0, encodeMs: { p50: 9, p95: 12 }, edgeMacs: 3e8 };
  const [one] = [row('unsplit-edge', 'unsplit-edge', 'whole network', 0.1, 75, free)];
  return [{ ...one!, photos: one!.photos!.map((photo) => ({ ...photo, bytes: 0 })) }];
};
/** The same rows as if noise had taken `lost` points. */
const under = (noise: number, rows: ResultRow[], lost: number): ResultRow[] =>
  rows.map((of) => ({ ...of, top1: of.top1 - lost, settings: { ...of.settings, noise } }));
const all = (): ResultsFile => file([...ours(4), ...ours(8, 3, { edgeMacs: 2e8 }), ...webp(), ...unsplit()]);

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'raccoon-report-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

const names = (of: string[]): string[] => of.map((name) => name.split('/').at(-1)!);

const open = (bytes: Uint8Array): Promise<Record<string, unknown>[]> =>
  parquetReadObjects({ file: new Uint8Array(bytes).buffer });

const beats = (a: ResultRow, b: ResultRow): boolean =>
  a.payloadBpp <= b.payloadBpp &&
  a.top1 >= b.top1 &&
  a.edgeMacs! <= b.edgeMacs! &&
  (a.payloadBpp < b.payloadBpp || a.top1 > b.top1 || a.edgeMacs! < b.edgeMacs!);

const curve = ({ name, points }: Series): Curve => ({
  name,
  points: points.map(({ row: { payloadBpp: bpp, top1 } }) => ({ bpp, top1 })),
});

function said(rows: ResultRow[]): string {
  return markdown(report(analyse({ files: collected(file(rows)) })));
}

/** A report on an encoder that took so many ms at each of its rates. */
function textOf(times: number[]): string {
  const rows = ours(4).map((of, i) => ({ ...of, encodeMs: { p50: times[i]!, p95: 50 } }));
  return said([...rows, ...webp()]);
}

describe('collecting', () => {
  test('files, and those below a folder; other JSON there is passed over', async () => {
    const path = folder();
    mkdirSync(join(path, 'trials/1'), { recursive: true });
    writeFileSync(join(path, 'trials/1/results.json'), JSON.stringify(file(ours(4))));
    writeFileSync(join(path, 'trials/state.json'), '{"done": [1]}');
    writeFileSync(join(path, 'b.json'), JSON.stringify(file(webp())));
    const files = await collectResults([join(path, 'trials'), join(path, 'b.json'), path]);
    expect(files.map((of) => of.path)).toEqual([join(path, 'b.json'), join(path, 'trials/1/results.json')]);
  });

  test.each([
    [
      'other photos',
      { data: { name: 'others', images: PHOTOS, seed: 1 } },
      /b\.json of 400 photos of others.* cannot be compared; make a report of each/,
    ],
    ['a sample of another seed', { data: { name: 'photos', images: PHOTOS, seed: 2 } }, /seed 2/],
    ['other classes', { bundle: { name: 'a-bundle', version: '1.0.0', classes: 9 } }, /9 classes/],
    [
      'other photos of that name',
      { data: { name: 'photos', images: PHOTOS, seed: 1, id: 'x' } },
      /of other photos, both called photos/,
    ],
    [
      'another network',
      { bundle: { name: 'b', version: '2.0.0', classes: 20 } },
      /b\.json of b 2\.0\.0: .*--across-bundles/,
    ],
  ])('refuses %s', async (_, more, why) => {
    const path = folder();
    const first = file(webp(), {
      data: {
        name: 'photos',
        images: PHOTOS,
        seed: 1,
        ...('data' in more && 'id' in more.data ? { id: 'y' } : {}),
      },
    });
    writeFileSync(join(path, 'a.json'), JSON.stringify(first));
    writeFileSync(join(path, 'b.json'), JSON.stringify(file(ours(4), more)));
    await expect(collectResults([path])).rejects.toThrow(why);
  });

  test('networks side by side where that is wanted; nothing, no file, no JSON, no results', async () => {
    const path = folder();
    await expect(collectResults([path])).rejects.toThrow(/no results in .*: raccoon eval --out/);
    await expect(collectResults([join(path, 'none')])).rejects.toThrow(/none does not exist/);
    writeFileSync(join(path, 'a.json'), JSON.stringify(file(ours(4))));
    const other = { bundle: { name: 'b', version: '1.0.0', classes: 20 } };
    writeFileSync(join(path, 'b.json'), JSON.stringify(file(ours(8), other)));
    expect(await collectResults([path], { acrossBundles: true })).toHaveLength(2);
    writeFileSync(join(path, 'c.json'), '{"format": "raccoon-results"');
    await expect(collectResults([path])).rejects.toThrow(/c\.json is not JSON/);
    writeFileSync(join(path, 'c.json'), '{"format": "raccoon-results"}');
    await expect(collectResults([path])).rejects.toThrow(/c\.json is no raccoon-results file/);
  });
});

describe('series', () => {
  test('ours first, depths as numbers; points by rising rate', () => {
    const rows = [...webp(), ...unsplit(), ...ours(10), ...ours(8).toReversed()];
    const series = seriesOf(collected(file(rows)));
    expect(series.map(({ name }) => name)).toEqual([
      'raccoon n=8',
      'raccoon n=10',
      'webp effort=4',
      'unsplit-edge',
    ]);
    expect(series[0]!.points.map(({ row: of }) => of.point)).toEqual(['q=0', 'q=1', 'q=2', 'q=3']);
  });

  test('rows that differ in the seed alone are one point: mean and spread', () => {
    const seeds = [1, 2, 3].map((seed) =>
      row('paper-n4', 'paper-n4', `lambda=1, seed=${seed}`, 0.2, 50, {
        settings: { lambda: 1, seed },
        top1: 50 + seed,
      }),
    );
    const [series, ...others] = seriesOf(collected(file(seeds)));
    expect(others).toEqual([]);
    expect(series!.points).toHaveLength(1);
    expect(series!.points[0]).toMatchObject({
      row: { point: 'lambda=1', top1: 52 },
      spread: { deviation: 1, low: 51, high: 53 },
    });
    const text = said([...seeds, ...webp()]);
    expect(text).toMatch(/^\| paper-n4 +\| lambda=1 +\| 52\.0 ± 1\.0 \(3 seeds\) \|/m);
    expect(text).toContain('bands are 95 % intervals, and as wide as the seeds are apart');
  });

  test('of what was measured twice the newest counts; of two networks, each has a name', () => {
    const old = row('webp', 'webp', 'quality=1', 0.2, 40);
    const twice = collected(
      file([{ ...old, top1: 44 }], { createdAt: '2026-11-22T12:00:00.000Z' }),
      file([old]),
    );
    expect(seriesOf(twice)[0]!.points.map(({ row: of }) => of.top1)).toEqual([44]);
    const two = collected(file([old]), file([old], { bundle: { name: 'b', version: '1.0.0', classes: 20 } }));
    expect(seriesOf(two).map(({ name }) => name)).toEqual(['a-bundle 1.0.0: webp', 'b 1.0.0: webp']);
  });
});

describe('bands', () => {
  test('by photos, and by the binomial distribution without them: as wide', () => {
    const kept = row('webp', 'webp', 'a', 0.2, 50);
    const { photos: _, ...bare } = { ...kept, point: 'b', settings: { point: 'b' } };
    const [series] = seriesOf(collected(file([kept, bare])));
    const resamples = resample(series!.points);
    const half = 100 * 1.96 * Math.sqrt(((kept.top1 / 100) * (1 - kept.top1 / 100)) / PHOTOS);
    for (const point of series!.points) {
      const { low, high } = interval(resamples.get(point)!.top1);
      expect(Math.abs(low - (kept.top1 - half))).toBeLessThan(0.8);
      expect(Math.abs(high - (kept.top1 + half))).toBeLessThan(0.8);
    }
    expect(series!.points.map((point) => resamples.get(point)!.by)).toEqual(['photos', 'binomial']);
  });

  test('other photos are refused by the names of the rows', () => {
    const shifted = webp().map((of) => ({ ...of, photos: of.photos!.toReversed() }));
    expect(() => analyse({ files: collected(file([...ours(4), ...shifted])) })).toThrow(
      /raccoon n=4 q=0 and webp effort=4 quality=0 are not of the same photos: .*--seed/,
    );
  });
});

describe('against each other', () => {
  const input = { files: collected(all()) };
  const analysis: Analysis = analyse(input);
  const [n4, n8, codec, whole] = analysis.series as [
    Analysis['subject'],
    Analysis['subject'],
    Analysis['subject'],
    Analysis['subject'],
  ];

  test('the best of ours is the subject; the anchor is a baseline; either can be named', () => {
    expect(analysis.subject).toBe(n8);
    expect(analysis.anchor).toBe(codec);
    expect(analyse({ ...input, subject: 'raccoon n=4' }).subject.name).toBe('raccoon n=4');
    expect(() => analyse({ ...input, subject: 'n=4' })).toThrow(
      /no series n=4; there are raccoon n=4, raccoon n=8/,
    );
    expect(() => analyse({ ...input, anchor: 'unsplit-edge' })).toThrow(
      /no curve has rates in common with unsplit-edge \(0\.000 to 0\.000 bpp\).*webp effort=4 \(0\.\d+ to 1\.\d+ bpp\)/,
    );
  });

  test('between two points, just beyond the ends, and far beyond them', () => {
    const { resamples } = analysis;
    const [first, second] = n4.points.map(({ row: of }) => of);
    const middle = Math.sqrt(first!.payloadBpp * second!.payloadBpp);
    expect(atRate(n4, middle, resamples)!.top1).toBeCloseTo((first!.top1 + second!.top1) / 2, 6);
    const last = n4.points[3]!.row;
    expect(atRate(n4, 0.9, resamples)).toMatchObject({ top1: last.top1, bpp: last.payloadBpp });
    expect(atRate(n4, 1, resamples)).toBeNull();
    expect(atRate(n4, 0.1, resamples)).toMatchObject({ top1: first!.top1, bpp: first!.payloadBpp });
    expect(atRate(codec, 0.1, resamples)).toBeNull();
    expect(atRate(whole, 1, resamples)).toMatchObject({ top1: whole.points[0]!.row.top1, bpp: 0 });
  });

  test('at a measured point, the difference and its interval are those of the paired bootstrap of raccoon compare', () => {
    const at = n4.points[1]!.row;
    const same = {
      ...n8,
      points: [{ ...n8.points[1]!, row: { ...n8.points[1]!.row, payloadBpp: at.payloadBpp } }],
    };
    const points = [...n4.points, ...same.points];
    const resamples = resample(points);
    const { difference, paired } = differenceAt(
      same,
      { ...n4, points: [n4.points[1]!] },
      at.payloadBpp,
      resamples,
    );
    const expected = pairedDifference(n4.points[1]!.seeds[0]!.photos!, n8.points[1]!.seeds[0]!.photos!);
    expect(paired).toBe(true);
    expect(difference!.mean).toBeCloseTo(expected.mean, 9);
    expect(Math.abs(difference!.low - expected.low)).toBeLessThan(0.6);
    expect(Math.abs(difference!.high - expected.high)).toBeLessThan(0.6);
  });

  test('Delta-accuracy is that of raccoon delta, inside its interval; nothing without rates in common', () => {
    const found = curveDifference(n8, codec, analysis.resamples)!;
    const { meanPchip, bdRatePercent } = delta(curve(codec), curve(n8));
    expect(found.delta).toMatchObject({ meanPchip, bdRatePercent });
    expect(found.intervals.meanPchip!.low).toBeLessThan(meanPchip);
    expect(found.intervals.meanPchip!.high).toBeGreaterThan(meanPchip);
    const far = { ...codec, points: codec.points.slice(2) };
    expect(curveDifference(n8, far, analysis.resamples)).toBeUndefined();
  });

  test('all curves against the anchor over the same rates; one that has few of them is left out and named', () => {
    const lower = [0.25, 0.5, 0.9].map((bpp, i) =>
      row('avif', 'avif effort=4', `quality=${i}`, bpp, 40 + 10 * i, CODEC),
    );
    const short = ours(2).slice(0, 3); // where the anchor is at its worst
    const files = collected(file([...ours(4), ...ours(8, 3), ...short, ...webp(), ...lower]));
    const compared = analyse({ files, anchor: 'webp effort=4' });
    const { low, high } = compared.commonRates!;
    expect(compared.anchorDeltas.map(({ subject }) => subject)).toEqual([
      'raccoon n=4',
      'raccoon n=8',
      'avif effort=4',
    ]);
    for (const { delta: found } of compared.anchorDeltas) expect(found.overlap).toEqual([low, high]);
    expect(markdown(report(compared))).toMatch(/Without raccoon n=2: of 0\.\d+ to 0\.\d+ bpp, over which/);
  });

  test('a curve is no better than itself', () => {
    const { difference } = differenceAt(n4, { ...n4, name: 'twin' }, 0.2, analysis.resamples);
    expect(difference).toEqual({ mean: 0, low: 0, high: 0 });
  });
});

test('the Pareto set: nobody in it is dominated, everybody outside it is, by one of it', () => {
  const random = mulberry32(5);
  const rows = Array.from({ length: 60 }, (_, i) =>
    row('webp', `s${i % 6}`, `p${i}`, 0.1 + random(), 100 * random(), {
      photos: undefined,
      edgeMacs: i % 9 === 0 ? null : Math.round(10 * random()),
    }),
  );
  const series = seriesOf(collected(file(rows)));
  const points = series.flatMap((of) => of.points).filter(({ row: { edgeMacs } }) => edgeMacs !== null);
  const set = paretoSet(series, ({ edgeMacs }) => edgeMacs).map(({ point }) => point);
  expect(set.length).toBeGreaterThan(3);
  for (const point of points) {
    const dominated = set.some((one) => beats(one.row, point.row));
    expect(dominated).toBe(!set.includes(point));
  }
});

describe('tables for programs', () => {
  const files = collected(all(), file([row('webp', 'webp, "fast"', 'a', 0.3, 40, { photos: undefined })]));
  const rows = flatRows(files);

  test('CSV, read by another reader', async () => {
    const { read } = await import('vega');
    const parse = { row: 'number', top1: 'number', encodeMsP50: 'number' };
    const back = read(csv(rowColumns, rows), { type: 'csv', parse } as never) as Record<string, unknown>[];
    expect(back).toHaveLength(rows.length);
    expect(back.map(({ top1 }) => top1)).toEqual(rows.map((of) => of.row.top1));
    expect(back.at(-1)).toMatchObject({
      row: rows.length - 1,
      series: 'webp, "fast"',
      wireBpp: '',
      encodeMsP50: 4,
    });
    expect(back[0]!['command']).toBe('raccoon eval --data "photos, mine" --out a.json');
  });

  test('Parquet, read by another reader: values, types and nulls', async () => {
    const back = await open(await parquet(rowColumns, rows));
    for (const [i, { row: of }] of rows.entries()) {
      expect(back[i]).toMatchObject({
        row: BigInt(i),
        series: of.series,
        settings: JSON.stringify(of.settings),
        top1: of.top1,
        payloadBpp: of.payloadBpp,
        wireBpp: null,
        edgeMacs: BigInt(of.edgeMacs!),
        bundle: 'a-bundle',
      });
    }
    const photos = flatPhotos(rows);
    const outcomes = await open(await parquet(photoColumns, photos));
    expect(outcomes).toEqual(
      photos.map(({ row: of, photo: { photo, right, bytes } }) => ({
        row: BigInt(of),
        photo,
        right,
        bytes: BigInt(bytes),
      })),
    );
    expect(photos).toHaveLength(PHOTOS * (rows.length - 1));
  });

  test('differences: what cannot go so low is empty', () => {
    const { differences } = analyse({ files });
    const lines = csv(differenceColumns, differences).split('\r\n');
    expect(lines[0]).toBe(
      'rateBpp,subject,other,subjectTop1,subjectBpp,otherTop1,otherBpp,difference,low,high,paired',
    );
    expect(lines).toContainEqual(
      expect.stringMatching(/^0\.1,raccoon n=8,webp effort=4,[\d.]+,[\d.]+,,,,,,true$/),
    );
  });
});

describe('the report', () => {
  const published = readPublished(
    {
      about: 'Somebody else’s.',
      curves: { theirs: { label: 'Theirs', bpp: [0.1, 0.7], top1: [11.11, 22.22] } },
    },
    'curves.json',
  );
  const document = report(analyse({ files: collected(all()), published, command: 'raccoon report x' }));

  test('says who wins at each rate, and where we lose', () => {
    const [first] = document.sections;
    expect(first!.list).toHaveLength(4);
    expect(first!.list![0]).toMatch(
      /^At 0\.1 bpp \[0\.\d+\] raccoon n=8 has .*: behind unsplit-edge \(−.*; webp effort=4 cannot go so low\.$/,
    );
    expect(first!.list![3]).toMatch(/^At 1 bpp raccoon n=8 has nothing: measured to 0\.\d+\.$/);
    expect(first!.list![2]).toMatch(/ahead of webp effort=4 \(\+.*; behind unsplit-edge/);
  });

  test('says that the network was not fine-tuned for image codecs', () => {
    expect(said([...ours(4), ...webp()])).toContain('not fine-tuned on compressed photos');
    expect(said(ours(4))).not.toContain('not fine-tuned');
  });

  test('published numbers stand in their panel alone, under its name', () => {
    const text = markdown(document);
    const panels = text.split(/^## /m).slice(1);
    const with1111 = panels.filter((panel) => panel.includes('11.11'));
    expect(with1111).toHaveLength(1);
    expect(with1111[0]).toMatch(/^published, ImageNet-1k\n/);
    const plots = document.sections.flatMap(({ figures = [] }) => figures);
    const drawn = plots.filter(({ plot }) => JSON.stringify(plot).includes('Theirs'));
    expect(drawn.map(({ name }) => name)).toEqual(['published']);
  });

  test('a page without scripts or addresses, with headings, alternative texts and headed tables', () => {
    const svgs = new Map(
      document.sections.flatMap(({ figures = [] }) =>
        figures.map(({ name }): [string, string] => [name, '<svg class="marks" width="1" height="1"></svg>']),
      ),
    );
    const html = page({ ...document, title: 'a <b> & "c"' }, svgs);
    expect(html).toContain('<h1>a &lt;b&gt; &amp; &quot;c&quot;</h1>');
    expect(html).not.toMatch(/<script|https?:\/\/(?!www\.w3)/);
    expect(html.match(/<svg /g)).toHaveLength(svgs.size);
    expect(html.match(/<svg [^>]*role="img" aria-label="[^"]{20,}"/g)).toHaveLength(svgs.size);
    const tables = document.sections.flatMap(({ tables: some = [] }) => some);
    expect(html.match(/<caption /g)).toHaveLength(tables.length);
    for (const { head, rows } of tables) {
      for (const cells of rows) expect(cells).toHaveLength(head.length);
    }
  });

  test('without a curve in common: no Delta-accuracy, and the ranges say why', () => {
    const low = ours(4).slice(0, 2);
    const text = said([...low, ...webp()]);
    expect(text).toMatch(
      /No Δ-accuracy: no curve has rates in common with raccoon n=4\. .* webp effort=4 0\.\d+ to 1\.\d+/,
    );
  });

  test('one rate each: the most accurate is the subject, and what is missing is said', () => {
    const text = said([...ours(4).slice(2, 3), ...ours(8, 3).slice(2, 3), ...webp().slice(0, 1)]);
    expect(text).toMatch(/No Δ-accuracy: raccoon n=8 was measured at one rate only/);
    expect(text).toMatch(/No image codec was measured at several qualities: raccoon eval --baseline webp:/);
  });

  test('times of two machines are not put side by side', () => {
    const slow = file(webp(), {
      environment: { cpu: 'B', cores: 1, threads: 1, node: '20.19.0', raccoon: '0.1.0' },
    });
    const analysis = analyse({ files: collected(file([...ours(4), ...ours(8)]), slow) });
    expect(analysis.paretoByTime.every(({ series }) => series.method === 'raccoon')).toBe(true);
    expect(markdown(report(analysis))).toContain('Times of B, 1 thread are left out');
  });

  test('says how intervals were made', () => {
    const bare = webp().map((of) => ({ ...of, photos: undefined }));
    expect(said([...ours(4), ...webp()])).toContain('intervals by a paired bootstrap over the photos.');
    const text = said([...ours(4), ...bare]);
    expect(text).toContain('elsewhere binomial and unpaired, which is wider.');
    expect(text).toContain('† binomial, where what became of each photo was not kept');
    expect(text).toMatch(/\| webp effort=4 +\| quality=0 .* to \d+\.\d† \|/);
  });

  test('times of a busy machine are called so', () => {
    expect(textOf([4, 4.2, 4.1, 5])).not.toContain('not quiet');
    expect(textOf([4, 4.2, 9, 5])).toMatch(/The machine was not quiet: .* \(raccoon n=4\)/);
  });

  test('names from files are text, not Markdown or HTML', async () => {
    const path = folder();
    const rows = ours(4).map((of) => ({ ...of, series: '<b>|"n"' }));
    writeFileSync(join(path, 'a.json'), JSON.stringify(file([...rows, ...webp()])));
    const out = join(path, 'out');
    await writeReport({ results: [path], out, formats: ['html', 'md'] });
    const html = readFileSync(join(out, 'report.html'), 'utf8');
    expect(html).not.toContain('<b>');
    expect(html).toContain('&lt;b&gt;|&quot;n&quot; q=0: ');
    expect(readFileSync(join(out, 'report.md'), 'utf8')).toMatch(/^\| &lt;b>\\\|"n" +\| q=0 /m);
  });

  test.each([
    ['one point', () => ours(4).slice(0, 1)],
    ['the unsplit network alone', unsplit],
    ['baselines alone', webp],
    ['two points at one rate', () => [ours(4)[0]!, { ...ours(4)[0]!, point: 'twin', settings: {} }]],
    [
      'nothing but accuracy',
      () =>
        ours(4).map((of) => ({
          ...of,
          encodeMs: null,
          entropyMs: null,
          cloudMs: null,
          edgeMacs: null,
          photos: undefined,
        })),
    ],
    ['nothing right', () => [...ours(4).map((of) => ({ ...of, top1: 0, photos: undefined })), ...webp()]],
  ])('%s: no number that is none', async (_, rowsOf) => {
    const made = report(analyse({ files: collected(file(rowsOf())) }));
    expect(markdown(made)).not.toMatch(/NaN|Infinity|undefined|null/);
    for (const { plot } of made.sections.flatMap(({ figures = [] }) => figures)) {
      expect(await plotSvg(plot)).not.toMatch(/NaN|Infinity|undefined/);
    }
  });

  test('a sweep without codecs: methods against each other, each in a colour of its own', () => {
    const rows = ['light-n0', 'light-n4', 'paper-n4'].flatMap((method, k) =>
      rates.map((bpp, i) => row(method, method, `target=${bpp}`, bpp, 40 + 5 * k + 6 * i)),
    );
    const analysis = analyse({ files: collected(file([...rows, ...unsplit()])) });
    expect(analysis.subject.name).toBe('paper-n4');
    const made = report(analysis);
    const [figure] = made.sections.flatMap(({ figures = [] }) => figures);
    const { series } = figure!.plot as Plot;
    expect(series.map(({ name }) => name)).toEqual(['paper-n4', 'light-n0', 'light-n4', 'unsplit-edge']);
    expect(new Set(series.map(({ colour }) => colour)).size).toBe(4);
    expect(markdown(made)).toContain('There is no image codec to compare with: raccoon eval --baseline');
    expect(made.sections[0]!.list![2]).toMatch(/ahead of light-n0 \(\+/);
  });

  test('rows of photos with noise are in a section of their own, and nowhere else', () => {
    const rows = [...ours(8), ...webp()];
    const noisy = [
      ...under(0.2, ours(8), 20),
      ...under(0.1, ours(8), 10),
      ...under(0.1, webp().slice(0, 1), 5),
    ];
    const clean = report(analyse({ files: collected(file(rows)) }));
    const made = report(analyse({ files: collected(file([...rows, ...noisy])) }));
    const section = made.sections.find(({ id }) => id === 'noise')!;
    const others = (of: typeof made): unknown[] =>
      of.sections.filter(({ id }) => id !== 'noise' && id !== 'environment'); // which counts the file's rows
    expect(others(made)).toEqual(others(clean));
    expect(clean.sections.some(({ id }) => id === 'noise')).toBe(false);

    const plot = section.figures![0]!.plot as Plot;
    const top1 = rows.map((of) => of.top1);
    expect(plot.series.map(({ name, points }) => [name, points.map(({ x, y }) => [x, y])])).toEqual([
      ...[0, 1, 2, 3].map((q) => [
        `raccoon n=8 q=${q}`,
        [
          [0, top1[q]],
          [0.1, top1[q]! - 10],
          [0.2, top1[q]! - 20],
        ],
      ]),
      [
        'webp effort=4 quality=0',
        [
          [0, top1[4]],
          [0.1, top1[4]! - 5],
        ],
      ],
    ]);
    const [table] = section.tables!;
    expect(table!.head).toEqual(['', 'σ = 0', 'σ = 0.1', 'σ = 0.2']);
    expect(table!.rows.at(-1)!.at(-1)).toBe('–');
    expect(() => analyse({ files: collected(file(noisy)) })).toThrow('measure without it, too');
  });

  test('is written as it is asked for, the same every time', async () => {
    const path = folder();
    writeFileSync(join(path, 'a.json'), JSON.stringify(all()));
    const once = await writeReport({ results: [join(path, 'a.json')], out: join(path, 'once') });
    expect(names(once.files)).toEqual([
      'report.html',
      'report.md',
      'rate-accuracy.png',
      'encoders.png',
      'rac-time.png',
      'rac-macs.png',
      'pareto-macs.png',
      'pareto-time.png',
      'bytes.png',
      'latency.png',
      'rows.csv',
      'differences.csv',
      'deltas.csv',
      'rows.parquet',
      'photos.parquet',
    ]);
    const twice = await writeReport({
      results: [join(path, 'a.json')],
      out: join(path, 'twice'),
      formats: ['html', 'md'],
    });
    expect(names(twice.files)).toEqual(['report.html', 'report.md']);
    for (const [i, name] of twice.files.entries()) {
      expect(readFileSync(name, 'utf8')).toBe(readFileSync(once.files[i]!, 'utf8'));
    }
    const links = [...readFileSync(twice.files[1]!, 'utf8').matchAll(/\]\((.*?)\)$/gm)].map(
      (match) => match[1],
    );
    expect(names(once.files)).toEqual(expect.arrayContaining(links));
  });
});

test('bits of every channel, estimated from the tables: nearly what the manifest expects in all', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const { manifest } = bundle;
  const plot = channelsPlot('Bits', bundle, 8)!;
  for (const [q, { points }] of plot.series.entries()) {
    const bits = points.reduce((sum, { y }) => sum + y, 0) / manifest.input.width / manifest.input.height;
    const expected = manifest.points.find((point) => point.n === 8 && point.q === q)!.expectedBpp;
    expect(Math.abs(bits / expected - 1)).toBeLessThan(0.06);
  }
  expect(channelsPlot('Bits', bundle, 3)).toBeUndefined();
});

test('times of another device: a plot of its own, of the encoders that were measured there', () => {
  const ms = { p50: 2, p95: 3 };
  const profiled = (n: number, encoder: number): DeviceProfile['rows'][number] => ({
    n,
    precision: 'float32',
    threads: 1,
    spin: false,
    q: 0,
    loadMs: 1,
    imageMs: ms,
    encoderMs: { p50: encoder, p95: 2 * encoder },
    codecMs: ms,
    totalMs: { p50: encoder + 4, p95: 2 * encoder + 6 },
    imagesPerSecond: 1,
    macs: 1e8,
    macsPerSecond: 1e8,
    bytes: 600,
    peakRssBytes: 1,
  });
  const profile: DeviceProfile = {
    format: 'raccoon-profile',
    version: 1,
    measuredAt: '2026-11-21T12:00:00.000Z',
    device: {
      cpu: 'Small one',
      processors: 4,
      memoryBytes: 1,
      platform: 'linux arm64',
      node: '20.19.0',
      onnxRuntime: '1.30.0',
    },
    bundle: { name: 'a-bundle', version: '1.0.0' },
    photos: 1,
    warmUps: 1,
    repeats: 1,
    rows: [profiled(4, 40), profiled(8, 90)],
  };
  const made = report(analyse({ files: collected(all()), profiles: [profile] }));
  const figures = made.sections.flatMap((of) => of.figures ?? []);
  const { plot, caption } = figures.find(({ name }) => name === 'rac-device-1')!;
  const places = (plot as Plot).series.map(({ name, points }) => [name, points[0]!.x]);
  expect(places).toEqual([
    ['raccoon n=4', 42],
    ['raccoon n=8', 92],
  ]);
  expect(caption).toContain('measured by raccoon bench on Small one, 4 processors');
});
