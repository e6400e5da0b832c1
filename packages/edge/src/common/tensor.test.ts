import { afterEach, expect, test, vi } from 'vitest';
import { createInputTensor, toTensor } from './tensor.ts';

afterEach(() => vi.unstubAllGlobals());

const triple = (...values: [number, number, number]): [number, number, number] => values;
const base = { shortSide: 2, filter: 'bilinear-antialias' as const };

test('pixels become normalised planes', () => {
  const input = { ...base, width: 2, height: 1, mean: triple(127.5, 0, 100), std: triple(127.5, 1, 50) };
  const pixels = Uint8Array.of(0, 1, 100, 255, 2, 200);
  const planes = Float32Array.of(-1, 1, 1, 2, 0, 2); // R R, G G, B B
  expect(toTensor(pixels, input)).toEqual(planes);
  const tensor = createInputTensor(input);
  tensor.fill(pixels);
  expect(tensor.data).toEqual(planes);
});

// ImageNet's usual means and deviations, which no float32 holds exactly
const awkward = { mean: triple(123.675, 116.28, 103.53), std: triple(58.395, 57.12, 57.375) };
const everyValue = (count: number): Uint8Array =>
  Uint8Array.from({ length: 3 * count }, (_, i) => (37 * i) % 256);

test.each([
  [16, 16],
  [7, 3], // no multiple of four
  [1, 1],
])('a tensor of %i x %i is filled again and again with the same floats as the plain one', (width, height) => {
  const input = { ...base, width, height, ...awkward };
  const tensor = createInputTensor(input);
  const pixels = everyValue(width * height);
  for (const photo of [pixels.toReversed(), pixels]) {
    tensor.fill(photo);
    expect(tensor.data).toEqual(toTensor(photo, input));
  }
});

test('without WebAssembly the plain one fills it', () => {
  vi.stubGlobal('WebAssembly', undefined);
  const input = { ...base, width: 4, height: 2, ...awkward };
  const tensor = createInputTensor(input);
  tensor.fill(everyValue(8));
  expect(tensor.data).toEqual(toTensor(everyValue(8), input));
});
