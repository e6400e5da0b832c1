import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCalibration, parseManifest } from '@raccoon/bundle';
import { expect, test } from 'vitest';
import { expectFailure, expectSuccess, raccoon } from '../helpers/cli.ts';
import { bundleWithExit } from '../helpers/local-exit.ts';
import { sample, temporaryFolder } from '../helpers/paths.ts';

// raccoon calibrate, on an exit that always says goldfish with the same logits.

const logits = Float32Array.from({ length: 1000 }, (_, k) => (k === 1 ? 5 : -k / 1000));

/** Ten times each of two photos, as an ImageFolder. */
function photos(): string {
  const data = temporaryFolder();
  for (const [wnid, name] of [
    ['n01443537', 'goldfish.jpg'],
    ['n01514859', 'hen.jpg'],
  ] as const) {
    mkdirSync(join(data, wnid));
    for (let i = 0; i < 10; i++) copyFileSync(sample(name), join(data, wnid, `${i}.jpg`));
  }
  return data;
}

test('shown, written to a file and recorded, each encoder once', async () => {
  const bundle = bundleWithExit(logits, () => undefined);
  const out = join(temporaryFolder(), 'exit.json');
  const args = ['calibrate', '--bundle', bundle, '--data', photos(), '--blocks', '0', '--rate', '0'];
  const shown = await raccoon([...args, '--outside', sample('koala.jpg'), '--out', out, '--record']);
  expectSuccess(shown);
  expect(shown.stdout).toMatch(/^n=0 q=0: chosen on 10 photos of imagenet20 val, reported on 10 others$/m);
  expect(shown.stdout).toMatch(/^exit alone 50\.0 %; temperature \d/m);
  expect(shown.stdout).toMatch(/^1\.00 +100\.0 % +\d+ +0\.0 % /m);
  expect(shown.stdout).toMatch(/^not trusted; .* exit 0 of 1, cloud [01] of 1 of others \(.*koala\.jpg\)$/m);

  const again = await raccoon([...args, '--record', '--json']);
  expectSuccess(again);
  const { encoders } = JSON.parse(again.stdout) as { encoders: { calibration: unknown }[] };
  const manifest = parseManifest(readFileSync(join(bundle, 'manifest.json'), 'utf8'), bundle);
  expect(manifest.exit!.calibration).toEqual(encoders.map(({ calibration }) => calibration));
  expect(manifest.exit!.calibration).toHaveLength(1);
  expect(manifest.exit!.calibration![0]!.trusted).toBe(false);
  const [written] = parseCalibration(readFileSync(out, 'utf8'), out, manifest);
  expect(written).toMatchObject({ n: 0, precision: 'float32', trusted: false });
  expect(written!.outside).toMatchObject({ images: 1, exit: 0 });
});

test('what cannot be done is said in one line', async () => {
  const data = photos();
  const args = ['calibrate', '--data', data];
  expectFailure(await raccoon([...args, '--blocks', '3']), 'has no such point');
  expectFailure(await raccoon([...args, '--max-drop', 'much']), 'a number of points, 0 to 100');
  const without = bundleWithExit(logits, (manifest) => delete manifest.exit);
  expectFailure(await raccoon(['calibrate', '--bundle', without, '--data', data]), 'has no local exit');
});
