import type { DeviceProfileRow, EnvelopePoint } from '@raccoon/edge';
import { expect, test } from 'vitest';
import { boundOf, envelopeNets, headRoom, measureEnvelope, withUtilisation } from './envelope.ts';
import { convNetMacs } from './onnx.ts';

/** A network of so many multiply-accumulates that runs at so many a second. */
const point = (macs: number, macsPerSecond: number): EnvelopePoint => ({
  width: 1,
  depth: 1,
  resolution: 4,
  macs,
  ms: (1000 * macs) / macsPerSecond,
  macsPerSecond,
});
const rising = [point(1e6, 1e9), point(1e7, 8e9), point(1e8, 19e9), point(1e9, 20e9), point(1e10, 18e9)];

test('the networks rise from a million to ten thousand million multiply-accumulates', () => {
  for (const quick of [false, true]) {
    const macs = envelopeNets(quick).map(convNetMacs);
    expect(macs).toEqual(macs.toSorted((a, b) => a - b));
    expect(macs[0]).toBeGreaterThan(0.5e6);
    expect(macs[0]).toBeLessThan(2e6);
    expect(macs.at(-1)).toBeGreaterThan(0.8e10);
    expect(macs.at(-1)).toBeLessThan(1.2e10);
  }
  expect(envelopeNets(true).length).toBeLessThan(envelopeNets().length / 4);
});

test('the bound never falls, and its knee is where 90 % of the most are reached', () => {
  const { bound, knee } = boundOf(rising);
  expect(bound).toEqual([1e9, 8e9, 19e9, 20e9, 20e9]);
  expect(knee).toBe(rising[2]);
});

test('utilisation of encoders: their rate of the bound at their size, measured in the same way', () => {
  const envelope = { threads: 2, spin: false, ...boundOf(rising), encoders: [] };
  const row = {
    n: 8,
    precision: 'float32',
    threads: 2,
    spin: false,
    macs: 1.4e8,
    encoderMs: { p50: 14, p95: 20 },
  };
  const others = [
    { ...row, threads: 1 },
    { ...row, spin: true },
  ];
  const { encoders } = withUtilisation(envelope, [row, ...others] as DeviceProfileRow[]);
  expect(encoders).toEqual([
    { n: 8, precision: 'float32', macs: 1.4e8, macsPerSecond: 1e10, utilisation: 1e10 / 19e9 },
  ]);
});

test('head-room is said in words, and that there is none', () => {
  const envelope = { threads: 1, spin: false, encoders: [] };
  expect(headRoom({ ...envelope, ...boundOf(rising) })).toMatch(
    /^head-room up to 100 M multiply-accumulates.*1\.00 ms for 1\.0 M, 5\.26 ms/,
  );
  const flat = boundOf([point(1e6, 19e9), point(1e8, 20e9)]);
  expect(headRoom({ ...envelope, ...flat })).toMatch(/^no free head-room: the rate is flat from 1\.0 M/);
});

test('a quick sweep on this device: every rate is multiply-accumulates by time', async () => {
  const done: number[] = [];
  const { points, bound, knee } = await measureEnvelope({
    threads: 1,
    quick: true,
    mostMacs: 1e8,
    onProgress: (n) => done.push(n),
  });
  expect(points).toHaveLength(3);
  expect(done).toEqual([1, 2, 3]);
  for (const [i, { macs, ms, macsPerSecond }] of points.entries()) {
    expect(macsPerSecond).toBe((1000 * macs) / ms);
    expect(bound[i]).toBeGreaterThanOrEqual(macsPerSecond);
  }
  expect(points).toContain(knee);
});
