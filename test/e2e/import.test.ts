import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { expectFailure, expectSuccess, raccoon } from '../helpers/cli.ts';
import { root, temporaryFolder } from '../helpers/paths.ts';

// `raccoon bundle import`: a checkpoint in the reference implementation's layout becomes a bundle that serves.

const training = join(root, 'packages/training');
const python = join(training, '.venv/bin/python');
const missing = !existsSync(python);
if (missing) console.warn(`skipped: ${python} is not there; npx nx run training:setup makes it`);

const CLASSES = 5; // of the random checkpoint

/** A random checkpoint (N = 0 and a ResNet-18), its classes, and an ImageFolder of two photos. */
async function makeInputs(folder: string): Promise<{ options: string[]; photo: string }> {
  const checkpoint = join(folder, 'model.pt');
  const script =
    `import sys, torch; sys.path.insert(0, 'tests'); from test_import_bundle import reference_state; ` +
    `torch.manual_seed(5); torch.save(reference_state('n0'), sys.argv[1])`;
  execFileSync(python, ['-c', script, checkpoint], { cwd: training });
  const classes = join(folder, 'classes.json');
  const entries = Array.from({ length: CLASSES }, (_, i) => ({ wnid: `n0${i}`, name: `class ${i}` }));
  writeFileSync(classes, JSON.stringify(entries));
  const photos = join(folder, 'photos');
  let photo = '';
  for (const { wnid } of entries.slice(0, 2)) {
    mkdirSync(join(photos, 'val', wnid), { recursive: true });
    photo = join(photos, 'val', wnid, 'noise.jpg');
    const noise = { type: 'gaussian', mean: 120, sigma: 40 } as const;
    await sharp({ create: { width: 320, height: 240, channels: 3, background: '#808080', noise } })
      .blur(4)
      .jpeg()
      .toFile(photo);
  }
  const data = ['--data', photos, '--classes', classes, '--licence', 'Apache-2.0'];
  return { options: ['--checkpoint', checkpoint, ...data], photo };
}

describe.skipIf(missing)('bundle import', () => {
  test('import, verify, list, encode, decode, demo', async () => {
    const folder = temporaryFolder();
    const { options, photo } = await makeInputs(folder);
    const imported = await raccoon(['bundle', 'import', ...options, '--out', 'bundles/imported'], folder);
    expect(imported.code, imported.stderr).toBe(0);

    const verified = await raccoon(['bundle', 'verify', 'imported'], folder);
    expectSuccess(verified);
    expect(verified.stdout).toContain('all as the manifest says');
    const list = await raccoon(['bundle', 'list'], folder);
    expectSuccess(list);
    expect(list.stdout).toMatch(/^imported 0\.1\.0 .* MB, 5 classes, no unsplit network/m);
    expect(list.stdout).toMatch(/^ {2}n=0 q=0 +float32 /m);

    const bundle = ['--bundle', 'imported'];
    expectSuccess(await raccoon(['encode', photo, ...bundle], folder));
    const decoded = await raccoon(['decode', 'noise.rac', ...bundle, '--json'], folder);
    expectSuccess(decoded);
    const { top } = JSON.parse(decoded.stdout) as { top: { name: string; probability: number }[] };
    expect(top).toHaveLength(CLASSES);
    expect(top.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 4);

    // no stem: nothing to compare with, and nothing else is affected
    const evaluate = ['eval', '--data', join(folder, 'photos/val'), ...bundle];
    expectFailure(await raccoon([...evaluate, '--unsplit'], folder), 'imported has no unsplit network');
    expectFailure(
      await raccoon([...evaluate, '--baseline', 'jpeg:40'], folder),
      'imported has no unsplit network',
    );
    const demo = await raccoon(['demo', photo, ...bundle], folder);
    expectSuccess(demo);
    expect(demo.stdout).toMatch(/^noise\.jpg +class \d .*\n\nimported has no unsplit network/m);
  }, 180_000);

  test('what fails there is one line here', async () => {
    const folder = temporaryFolder();
    const args = ['--data', 'd', '--classes', 'c', '--licence', 'MIT', '--out', 'out'];
    expectFailure(
      await raccoon(['bundle', 'import', '--checkpoint', 'nobody.pt', ...args], folder),
      'nobody.pt',
    );
  }, 120_000);
});
