import { expect, test } from 'vitest';
import { RansTables } from '@raccoon/rans-coder';
import { quantise } from './index.ts';
import type { CodecTables } from './index.ts';

// Exact ties and the ends of int16 are in test/vectors/quantise.json.
const t: CodecTables = {
  points: 2,
  channels: 2,
  gain: Float32Array.of(1, 2, 10, 20),
  median: Float32Array.of(0, 0.5, 0, 0.25),
  tableOf: new Uint16Array(4),
  tables: RansTables.fromFrequencies([{ offset: 0, frequencies: [1, 65535] }]),
};
const withCode = (code: string): unknown => expect.objectContaining({ name: 'CodecError', code });

test('each channel has its gain and median, each point too', () => {
  const latent = Float32Array.of(0.6, -1, 0.5, 2, 0.25, -0.8); // (2, 3)
  expect([...quantise(latent, 3, 0, t)]).toEqual([1, -1, 0, 3, 0, -3]);
  expect([...quantise(latent, 3, 1, t)]).toEqual([6, -10, 5, 35, 0, -21]);
});

test('writes into the array that it is given', () => {
  const out = new Int16Array(2);
  expect(quantise(Float32Array.of(3, 4), 1, 0, t, out)).toBe(out);
  expect([...out]).toEqual([3, 7]);
});

test('point-range: a point that the tables do not have', () => {
  for (const point of [-1, 2, 0.5, Number.NaN]) {
    expect(() => quantise(new Float32Array(2), 1, point, t)).toThrow(withCode('point-range'));
  }
});

test('shape-mismatch: latent, channels and out of different sizes', () => {
  expect(() => quantise(new Float32Array(3), 1, 0, t)).toThrow(withCode('shape-mismatch'));
  expect(() => quantise(new Float32Array(2), 1, 0, t, new Int16Array(3))).toThrow(withCode('shape-mismatch'));
});

test('symbol-range: the message names the channel', () => {
  expect(() => quantise(Float32Array.of(0, 20_000), 1, 0, t)).toThrow(/channel 1/);
  expect(() => quantise(Float32Array.of(0, Number.NaN), 1, 0, t)).toThrow(withCode('symbol-range'));
});
