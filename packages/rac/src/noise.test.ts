import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, onTestFinished, test } from 'vitest';
import { addNoise } from './noise.ts';

const input = {
  width: 64,
  height: 64,
  shortSide: 64,
  filter: 'bilinear-antialias' as const,
  mean: [0, 0, 0] as [number, number, number],
  std: [1, 1, 1] as [number, number, number],
};

/** A photo of one grey. */
async function grey(value: number, name = 'grey.png'): Promise<{ path: string; wnid: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-noise-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'n1'));
  const path = join(folder, 'n1', name);
  const background = { r: value, g: value, b: value };
  await sharp({ create: { width: 64, height: 64, channels: 3, background } })
    .png()
    .toFile(path);
  return { path, wnid: 'n1' };
}

function moments(values: Uint8Array, middle: number): { mean: number; deviation: number; fourth: number } {
  const errors = Array.from(values, (value) => value - middle);
  const power = (k: number): number => errors.reduce((sum, error) => sum + error ** k, 0) / errors.length;
  return { mean: power(1), deviation: Math.sqrt(power(2)), fourth: power(4) / power(2) ** 2 };
}

test('it is Gaussian, as strong as asked for, the same every time, and of the photo alone', async () => {
  const photo = await grey(128);
  const { data, width, height } = await addNoise(photo, input, 0.1);
  expect([width, height, data.length]).toEqual([64, 64, 3 * 64 * 64]);
  const { mean, deviation, fourth } = moments(data, 128);
  expect(Math.abs(mean)).toBeLessThan(1);
  expect(Math.abs(deviation - 25.5)).toBeLessThan(0.7);
  expect(Math.abs(fourth - 3)).toBeLessThan(0.2); // of a normal distribution; of a uniform one it is 1.8
  expect((await addNoise(photo, input, 0.1)).data).toEqual(data);
  expect((await addNoise(await grey(128), input, 0.1)).data).toEqual(data); // wherever the folder lies
  expect((await addNoise(await grey(128, 'other.png'), input, 0.1)).data).not.toEqual(data);

  // the same noise at another strength
  const weaker = (await addNoise(photo, input, 0.05)).data;
  expect(Math.max(...data.map((value, i) => Math.abs(value - 128 - 2 * (weaker[i]! - 128))))).toBeLessThan(2);
});

test('nothing is darker than black or brighter than white', async () => {
  const { data } = await addNoise(await grey(250), input, 1);
  expect(data.filter((value) => value === 255).length).toBeGreaterThan(data.length / 3);
  expect(data.filter((value) => value === 0).length).toBeGreaterThan(data.length / 10);
});
