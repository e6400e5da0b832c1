import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { expectFailure, raccoon } from '../helpers/cli.ts';
import { root, temporaryFolder } from '../helpers/paths.ts';

// `raccoon train` and `train-paper`: what people get who start them without the right data.

const python = join(root, 'packages/training/.venv/bin/python');
const missing = !existsSync(python);
if (missing) console.warn(`skipped: ${python} is not there; npx nx run training:setup makes it`);

const paper = ['train-paper', '--model', 'paper-n0', '--run', 'run', '--depth', '18'];

describe.skipIf(missing)('training', () => {
  test('a folder that is not there, or without photos: what belongs there', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'empty'));
    const universal = ['train', '--run', 'run', '--weights', 'mobilenet.safetensors'];
    expectFailure(
      await raccoon([...universal, '--data', 'nowhere'], folder),
      /there is no folder nowhere: --data is a folder with train-\*\.tar shards .* or with train\/<wnid>\/<photo>$/,
    );
    expectFailure(
      await raccoon([...paper, '--lambda', '1', '--data', 'empty'], folder),
      'no photos in empty: --data is a folder with train-',
    );
    expectFailure(await raccoon(universal, folder), 'required: --data');
    expect(existsSync(join(folder, 'run'))).toBe(false);
  }, 180_000);

  test('a lambda that cannot be', async () => {
    const folder = temporaryFolder();
    expectFailure(
      await raccoon([...paper, '--lambda', '-1', '--data', '.'], folder),
      'lambda must be above 0',
    );
  }, 180_000);
});
