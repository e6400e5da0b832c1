import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseResults, type ResultRow, type ResultsFile } from '@raccoon/rac';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectFailure, expectSuccess, lines, raccoon, start } from '../helpers/cli.ts';
import { temporaryFolder } from '../helpers/paths.ts';
import { random } from '../helpers/random.mjs';
import { writeTinyBundle } from '../helpers/tiny-bundle.mjs';

const COLOURS = ['red', 'green', 'blue'];
const PHOTOS = 4; // of each

let folder: string;
let bundle: string;
let data: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-eval-'));
  bundle = await writeTinyBundle(folder);
  const file = join(bundle, 'manifest.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as { classes: { wnid: string; name: string }[] };
  for (const colour of manifest.classes) colour.wnid = colour.name;
  writeFileSync(file, JSON.stringify(manifest));

  data = join(folder, 'val');
  const next = random(1);
  for (const [c, colour] of COLOURS.entries()) {
    mkdirSync(join(data, colour), { recursive: true });
    for (let i = 0; i < PHOTOS; i++) {
      // noise, stronger in one colour, so that not all are right
      const pixels = Uint8Array.from({ length: 24 * 24 * 3 }, (_, at) => next() * (at % 3 === c ? 140 : 128));
      await sharp(pixels, { raw: { width: 24, height: 24, channels: 3 } })
        .png()
        .toFile(join(data, colour, `${i}.png`));
    }
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

const args = (...more: string[]): string[] => [
  'eval',
  '--bundle',
  bundle,
  '--data',
  data,
  '--data-name',
  'colours',
  '--photos',
  ...more,
];
const read = (file: string): ResultsFile => parseResults(JSON.parse(readFileSync(file, 'utf8')), file);

/** What is the same every time. */
function result({ method, series, point, images, top1, top5, payloadBpp, photos }: ResultRow): object {
  return { method, series, point, images, top1, top5, payloadBpp, photos };
}

test('--out writes results: what was asked for, with everything that was measured', async () => {
  const out = join(temporaryFolder(), 'results.json');
  const ended = await raccoon(
    args('--jobs', '1', '--baseline', 'latent-int8', '--cpu-watts', '5', '--out', out),
  );
  expectSuccess(ended);
  expect(ended.stdout).toMatch(/^n=0 q=0 .* \(modelled\)$/m);
  expect(ended.stdout).toMatch(/^raw-int8 latent zstd 3 /m);
  const { rows, ...context } = read(out);
  expect(context).toMatchObject({
    command: expect.stringMatching(/^npx raccoon eval --bundle .*results\.json$/),
    data: { name: 'colours', images: 12, seed: null },
    bundle: { name: 'tiny-colours', version: '1.0.0', classes: 3 },
  });
  expect(rows).toHaveLength(2);
  const [coded, raw] = rows as [ResultRow, ResultRow];
  // one point only: the bundle is the point
  expect(coded).toMatchObject({ method: 'raccoon', series: 'raccoon', point: 'tiny-colours', images: 12 });
  expect(raw).toMatchObject({ method: 'raw-int8', wireBpp: null, settings: { of: 'latent', zstdLevel: 3 } });
  expect(coded.wireBpp).toBeGreaterThan(coded.payloadBpp);
  expect(coded.top1Interval![0]).toBeLessThanOrEqual(coded.top1);
  expect(coded.top1Interval![1]).toBeGreaterThanOrEqual(coded.top1);
  expect(coded.bytes!.header).toBe(16);
  for (const row of rows) {
    expect(row.photos).toHaveLength(12);
    expect(row.top1).toBeGreaterThan(33);
    expect(row.peakMemoryMiB).toBeGreaterThan(20);
    expect(row.energyMillijoule?.source).toBe('modelled');
    expect(row.entropyMs).toBeLessThanOrEqual(row.encodeMs!.p95);
  }
});

test('killed, it goes on where it was: no row is lost, measured again or different', async () => {
  const out = join(temporaryFolder(), 'results.json');
  const levels = ['latent-int8', 'latent-float32'].flatMap((raw) =>
    [1, 3].flatMap((level) => ['--baseline', `${raw}@effort=${level}`]),
  );
  const command = args('--jobs', '1', ...levels, '--out', out);
  const { child, ended } = start(command);
  while (!existsSync(out)) await new Promise((resolve) => setTimeout(resolve, 10));
  child.kill('SIGKILL');
  await ended;
  const kept = read(out).rows;
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.length).toBeLessThan(5);

  const again = await raccoon(command);
  expectSuccess(again);
  expect(again.stdout).toContain(`${kept.length} of 5 rows are those of ${out}`);
  const { rows } = read(out);
  expect(rows).toHaveLength(5);
  expect(rows.slice(0, kept.length)).toEqual(kept); // with their times

  const whole = join(temporaryFolder(), 'whole.json');
  expectSuccess(await raccoon(args('--jobs', '2', ...levels, '--out', whole)));
  const named = (file: string): object[] =>
    read(file)
      .rows.map(result)
      .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  expect(named(whole)).toEqual(named(out));
}, 180_000);

test('--json has points, baselines and their photos; --in-process no wire; --method the name', async () => {
  const ended = await raccoon(
    args('--json', '--in-process', '--method', 'paper-n0', '--limit', '6', '--baseline', 'latent-int8'),
  );
  expectSuccess(ended);
  const json = JSON.parse(ended.stdout) as { points: object[]; baselines: object[] };
  expect(json).toMatchObject({
    bundle: 'tiny-colours',
    seed: 1,
    points: [{ point: 0, n: 0, q: 0, precision: 'float32', images: 6, wireBpp: null }],
    baselines: [{ method: 'raw-int8', series: 'raw-int8 latent', images: 6 }],
  });
  expect(json.points[0]).toHaveProperty('photos.5.right');
  expect(json.points[0]).not.toHaveProperty('method');

  const out = join(temporaryFolder(), 'results.json');
  expectSuccess(await raccoon(args('--method', 'paper-n0', '--limit', '6', '--out', out)));
  expect(read(out)).toMatchObject({ data: { seed: 1 }, rows: [{ method: 'paper-n0', series: 'paper-n0' }] });
});

test('noise: a row for each strength, which compare leaves out', async () => {
  const out = join(temporaryFolder(), 'results.json');
  const ended = await raccoon(args('--noise', '0,0.2', '--out', out));
  expectSuccess(ended);
  expect(ended.stdout).toMatch(/^n=0 q=0, noise 0\.2 /m);
  const [clean, noisy] = read(out).rows.toSorted((a) => ('noise' in a.settings ? 1 : -1)) as [
    ResultRow,
    ResultRow,
  ];
  expect(noisy).toMatchObject({ series: clean.series, settings: { ...clean.settings, noise: 0.2 } });
  const compared = await raccoon(['compare', out, out]);
  expectSuccess(compared);
  expect(lines(compared.stdout).filter((line) => line.startsWith('n=0'))).toHaveLength(1);
  const asJson = await raccoon(args('--noise', '0.2', '--json'));
  expect(JSON.parse(asJson.stdout)).toMatchObject({ points: [], noisy: [{ settings: { noise: 0.2 } }] });
});

test('results can be compared', async () => {
  const out = join(temporaryFolder(), 'results.json');
  expectSuccess(await raccoon(args('--baseline', 'latent-int8', '--out', out)));
  const compared = await raccoon(['compare', out, out]);
  expectSuccess(compared);
  expect(lines(compared.stdout).filter((line) => line.startsWith('n=0'))).toEqual([
    expect.stringMatching(/ 0\.0 +0\.0 to 0\.0$/),
  ]);
});

describe('what is wrong', () => {
  test('is said before anything is measured', async () => {
    expectFailure(await raccoon(args('--baseline', 'bpg:10')), 'bpg:10 is no baseline');
    for (const sigmas of ['2', '0.1,x', '-1', '']) {
      expectFailure(await raccoon(args('--noise', sigmas)), 'numbers from 0 to 1, for instance 0,0.1,0.3');
    }
    expectFailure(
      await raccoon(args('--noise', '0.1', '--baseline', 'original')),
      'the baseline original is the file as it is',
    );
    expectFailure(await raccoon(args('--baseline', 'jpeg:10')), 'tiny-colours has no unsplit network');
    const out = join(temporaryFolder(), 'results.json');
    expectSuccess(await raccoon(args('--limit', '3', '--out', out)));
    expectFailure(
      await raccoon(args('--out', out)),
      /results\.json holds rows of 3 photos of colours \(seed 1\): give another --out/,
    );
  });

  test('in the process of a row is one line here', async () => {
    const broken = join(data, 'red', 'broken.png');
    const whole = temporaryFolder();
    writeFileSync(broken, 'dear diary');
    const ended = await raccoon(args('--out', join(whole, 'results.json')));
    rmSync(broken);
    expectFailure(ended, 'broken.png is not a photo');
    expect(existsSync(join(whole, 'results.json'))).toBe(false);
  });
});
