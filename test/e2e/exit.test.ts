import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseManifest, type Manifest } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { openEdge } from '@raccoon/edge/node';
import { expect, test } from 'vitest';
import { expectFailure, expectSuccess, raccoon } from '../helpers/cli.ts';
import { bundleWithExit, EXIT_OUTPUT } from '../helpers/local-exit.ts';
import { sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';

// The local exit, the encoder's second output, and points of another precision.

const hen = sample('hen.jpg');

/** Logits of the shipped bundle's classes, the highest for goldfish. */
const logits = Float32Array.from({ length: 1000 }, (_, k) => (k === 1 ? 5 : -k / 1000));

const withExit = (edit: (manifest: Manifest) => void = () => undefined): string =>
  bundleWithExit(logits, edit);

test('the exit comes when asked for, and changes nothing else', async () => {
  const plain = await openEdge(shippedBundle, { threads: 1 });
  const edge = await openEdge(withExit(), { threads: 1 });
  const { slices } = await plain.encode(hen, 0);
  const unasked = await edge.encode(hen, 0);
  expect(unasked.slices).toEqual(slices);
  expect(unasked).not.toHaveProperty('exitLogits');
  const asked = await edge.encode(hen, 0, { exit: true });
  expect(asked.slices).toEqual(slices);
  expect(asked.exitLogits).toEqual(logits);
  await Promise.all([plain.close(), edge.close()]);
});

test('a bundle that does not say it has an exit gives none', async () => {
  const edge = await openEdge(withExit((manifest) => delete manifest.exit));
  expect(await edge.encode(hen, 0, { exit: true })).not.toHaveProperty('exitLogits');
  await edge.close();
});

test('an exit that is not what the manifest says', async () => {
  const folder = withExit();
  const bundle = await openBundle(folder);
  const { manifest } = bundle;
  const wrong = async (changes: Partial<Manifest>, message: string): Promise<void> => {
    const edge = await openEdge({ ...bundle, manifest: { ...manifest, ...changes } });
    await expect(edge.encode(hen, 0, { exit: true })).rejects.toMatchObject({
      code: 'encoder',
      message: expect.stringContaining(message),
    });
    await edge.close();
  };
  await wrong({ exit: { output: 'other' } }, `has no output other; it has latent`);
  await wrong({ classes: manifest.classes.slice(1) }, '1000 logits for 999 classes');
});

test('eval --exit and --precision, recorded and listed', async () => {
  const n = 0;
  const q = 0;
  // the first point, as if its encoder computed in int8
  const folder = withExit((manifest) => (manifest.points[0]!.precision = 'int8'));
  const data = temporaryFolder();
  for (const [wnid, name] of [
    ['n01443537', 'goldfish.jpg'],
    ['n01514859', 'hen.jpg'],
  ] as const) {
    mkdirSync(join(data, wnid));
    copyFileSync(sample(name), join(data, wnid, name));
  }
  const args = ['eval', '--bundle', folder, '--data', data, '--blocks', `${n}`, '--rate', `${q}`];
  const shown = await raccoon([...args, '--precision', 'int8', '--exit', '--record']);
  expectSuccess(shown);
  expect(shown.stdout).toMatch(/^n=0 q=0 int8 .* 50\.0$/m);
  const json = await raccoon([...args, '--precision', 'int8', '--json']);
  expect(JSON.parse(json.stdout)).toMatchObject({ points: [{ point: 0, n, q, precision: 'int8' }] });

  const file = readFileSync(join(folder, 'manifest.json'), 'utf8');
  const manifest = parseManifest(file, folder);
  expect(manifest.exit).toEqual({ output: EXIT_OUTPUT });
  expect(manifest.points[0]!.measured).toMatchObject({ images: 2, exitTop1: 50 });

  const list = await raccoon(['bundle', 'list'], join(folder, '../..'));
  expectSuccess(list);
  expect(list.stdout).toMatch(/ MB, 1000 classes, local exit, .*with-exit$/m);
  expect(list.stdout).toMatch(/^ {2}n=0 q=0 +int8 .* 50\.0 % +\d+ M$/m);

  const none = withExit((without) => delete without.exit);
  expectFailure(await raccoon(['eval', '--bundle', none, '--data', data, '--exit']), 'has no local exit');
});
