import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseCalibration, type ExitCalibration } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { expect, test } from 'vitest';
import { calibrateExits, reportOn, type TwoAnswers } from './calibrate.ts';
import { listImageFolder } from './photos.ts';
import { mulberry32 } from './random.ts';

const samples = fileURLToPath(new URL('../../../samples', import.meta.url));
const bundle = await openBundle('imagenet1k-mobilenet');
const point = bundle.manifest.points.findIndex(({ n, q }) => n === 0 && q === 1);

/**
 * Answers among 10 classes. The exit is right in `sure` of the photos with a high logit, in the others by chance with a low one;
 * the cloud in 80 %; both logits of the label are raised where they are right.
 */
function answers(count: number, sure: number, seed = 1): TwoAnswers[] {
  const random = mulberry32(seed);
  const logits = (label: number, right: boolean, height: number): Float32Array => {
    const values = Float32Array.from({ length: 10 }, () => random());
    values[right ? label : (label + 1 + Math.floor(9 * random())) % 10]! += height;
    return values;
  };
  return Array.from({ length: count }, (_, i) => {
    const label = i % 10;
    const easy = random() < sure;
    return {
      photo: `${label}/${i}`,
      label,
      exitLogits: logits(label, easy || random() < 0.2, easy ? 6 : 0.5),
      cloudLogits: logits(label, easy || random() < 0.6, 4),
      bytes: easy ? 900 : 1100,
    };
  });
}

const trusted = { trusted: true };
const options = { dataName: 'made up' };

test('photos that the exit is sure of are not sent, and nothing is lost', () => {
  const report = reportOn(bundle, point, answers(1000, 0.5), trusted, options);
  const { alone, always, calibration } = report;
  expect(alone.chosen.sent).toBeGreaterThan(40);
  expect(alone.chosen.sent).toBeLessThan(60);
  expect(alone.chosen.bytesPerImage).toBeLessThan(0.6 * always.bytesPerImage);
  expect(Math.abs(alone.difference.mean)).toBeLessThan(1.5);
  expect(calibration).toMatchObject({ n: 0, precision: 'float32', trusted: true });
  expect(calibration.measured).toMatchObject({ calibrated: 500, reported: 500, q: 1 });
  expect(calibration.ece.after).toBeLessThan(calibration.ece.before);
  expect(calibration.margins).toHaveLength(10);
  expect(calibration.margins[0]!.margin).toBe(0);
  expect(calibration.margins[9]!.exitTop1).toBeGreaterThan(calibration.margins[0]!.exitTop1);
});

test('from D0 = 0, everything local, to D0 = 1, everything sent, bytes rise', () => {
  const { alone, always, exitTop1 } = reportOn(bundle, point, answers(600, 0.5), trusted, options);
  expect(alone.curve[0]).toMatchObject({ threshold: 0, sent: 0, bytesPerImage: 0, top1: exitTop1 });
  expect(alone.curve.at(-1)).toMatchObject({
    threshold: 1,
    sent: 100,
    bytesPerImage: always.bytesPerImage,
    top1: always.top1,
  });
  for (const [i, row] of alone.curve.entries()) {
    if (i > 0) expect(row.bytesPerImage).toBeGreaterThanOrEqual(alone.curve[i - 1]!.bytesPerImage);
  }
});

test('an exit that knows nothing sends everything', () => {
  const { alone } = reportOn(bundle, point, answers(600, 0), trusted, { ...options, maxDrop: 0 });
  expect(alone.chosen.sent).toBeGreaterThan(90);
});

test('the sum with the exit is used only if the exit is trusted', () => {
  // two opinions, the cloud's the better one, both together better still
  const random = mulberry32(3);
  const opinion = (label: number, height: number): Float32Array =>
    Float32Array.from({ length: 10 }, (_, k) => 3 * random() + (k === label ? height : 0));
  const table = answers(600, 0).map((one) => ({
    ...one,
    exitLogits: opinion(one.label, 1),
    cloudLogits: opinion(one.label, 2),
  }));
  expect(reportOn(bundle, point, table, { trusted: false }, options).calibration.alpha).toBeUndefined();
  const { alone, summed, calibration } = reportOn(bundle, point, table, trusted, options);
  expect(summed.chosen.bytesPerImage).toBeLessThan(0.98 * alone.chosen.bytesPerImage);
  expect(calibration).toMatchObject({ alpha: summed.alpha, threshold: summed.chosen.threshold });
});

test('the same photos and seed give the same report; too few photos are refused', () => {
  const table = answers(200, 0.5);
  const once = reportOn(bundle, point, table, trusted, options);
  expect(reportOn(bundle, point, table, trusted, options)).toEqual(once);
  expect(() => reportOn(bundle, point, table.slice(0, 10), trusted, options)).toThrow('20 at least');
});

test('photos through edge and cloud; an exit of twenty classes is not trusted with the others', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-calibrate-'));
  for (const [wnid, name] of [
    ['n01443537', 'goldfish.jpg'],
    ['n01514859', 'hen.jpg'],
  ] as const) {
    mkdirSync(join(folder, wnid));
    for (let i = 0; i < 10; i++) copyFileSync(join(samples, name), join(folder, wnid, `${i}.jpg`));
  }
  const photos = await listImageFolder(folder);
  const outside = {
    name: 'samples',
    paths: ['koala.jpg', 'goldfish.jpg'].map((name) => join(samples, name)),
  };
  const done: number[] = [];
  const [report] = await calibrateExits(bundle, photos, [point], { ...options, outside }, (count) =>
    done.push(count),
  );
  expect(done).toHaveLength(20);
  const { calibration, alone, always } = report!;
  expect(calibration.trusted).toBe(false);
  expect(calibration.outside).toMatchObject({ data: 'samples', images: 1 }); // goldfish is one of the classes
  expect(always.bytesPerImage).toBeGreaterThan(200);
  expect(alone.curve).toHaveLength(21);

  // of two classes, one of ten photos: chance is a half
  const [closed] = await calibrateExits(bundle, photos, [point], { ...options, closed: true });
  expect(closed!.exitTop1).toBeGreaterThanOrEqual(report!.exitTop1);
  expect(closed!.exitTop1).toBeGreaterThanOrEqual(50);

  const { name, version } = bundle.manifest;
  const file = {
    format: 'raccoon-calibration',
    version: 1,
    bundle: { name, version },
    encoders: [calibration],
  };
  const read = (text: string, of = bundle.manifest): ExitCalibration[] =>
    parseCalibration(text, 'exit.json', of);
  expect(read(JSON.stringify(file))).toEqual([calibration]);
  const wrong = (text: string, message: string, of = bundle.manifest): void =>
    expect(() => read(text, of)).toThrow(
      expect.objectContaining({ code: 'calibration', message: expect.stringContaining(message) }),
    );
  wrong('{', 'exit.json is not JSON');
  wrong(JSON.stringify({ ...file, encoders: [] }), 'exit.json: encoders');
  wrong(JSON.stringify(file), 'calibrate again', { ...bundle.manifest, version: '9.9.9' });
  rmSync(folder, { recursive: true });
});
