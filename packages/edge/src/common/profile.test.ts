import type { Manifest } from '@raccoon/bundle';
import { describe, expect, test } from 'vitest';
import {
  choosePrecision,
  fastestRow,
  parseProfile,
  type DeviceProfile,
  type DeviceProfileRow,
} from './profile.ts';

const spread = (ms: number): { p50: number; p95: number } => ({ p50: ms, p95: 2 * ms });

function row(precision: 'float32' | 'int8', threads: number, encoderMs: number): DeviceProfileRow {
  return {
    n: 8,
    precision,
    threads,
    spin: false,
    q: 2,
    loadMs: 20,
    imageMs: spread(3),
    encoderMs: spread(encoderMs),
    codecMs: spread(0.1),
    totalMs: spread(encoderMs + 3.1),
    imagesPerSecond: 100,
    macs: 1000,
    macsPerSecond: 100_000,
    bytes: 1800,
    peakRssBytes: 1e8,
  };
}

const profileOf = (...rows: DeviceProfileRow[]): DeviceProfile => ({
  format: 'raccoon-profile',
  version: 1,
  measuredAt: '2026-11-21T15:00:00.000Z',
  device: {
    cpu: 'a processor',
    processors: 2,
    memoryBytes: 1e9,
    platform: 'linux x64',
    node: '20',
    onnxRuntime: '1',
  },
  bundle: { name: 'tiny', version: '1.0.0' },
  photos: 17,
  warmUps: 10,
  repeats: 50,
  rows,
});

describe('parseProfile', () => {
  const profile = profileOf(row('float32', 1, 4), row('int8', 1, 2));

  test('gives back what was written', () => {
    expect(parseProfile(JSON.stringify(profile), 'p.json')).toEqual(profile);
  });

  test.each([
    ['', 'p.json is not JSON'],
    ['{}', 'p.json is no device profile (format:'],
    [JSON.stringify({ ...profile, version: 2 }), 'p.json is no device profile (version:'],
    [JSON.stringify({ ...profile, rows: [{ ...profile.rows[0], encoderMs: 1 }] }), '(rows.0.encoderMs:'],
  ])('%.20s', (json, message) => {
    const error = expect.objectContaining({ code: 'profile', message: expect.stringContaining(message) });
    expect(() => parseProfile(json, 'p.json')).toThrow(error);
  });
});

test('the fastest row of an encoder, with any number of threads or a fixed one', () => {
  const profile = profileOf(row('float32', 1, 4), row('float32', 2, 3), row('int8', 1, 2));
  expect(fastestRow(profile, 8, 'float32')?.threads).toBe(2);
  expect(fastestRow(profile, 8, 'float32', 1)?.encoderMs.p50).toBe(4);
  expect(fastestRow(profile, 4, 'float32')).toBeUndefined();
});

const measured = (top1: number) => ({ data: 'x', images: 100, top1, top5: 90, payloadBpp: 0.3 });

const manifest = (float32: number, int8?: number): Manifest =>
  ({
    name: 'tiny',
    points: [
      { n: 8, q: 0, measured: measured(float32) },
      ...(int8 === undefined ? [] : [{ n: 8, q: 0, precision: 'int8', measured: measured(int8) }]),
    ],
  }) as Manifest; // what is read of it

describe('choosePrecision', () => {
  const twice = profileOf(row('float32', 1, 4), row('int8', 1, 2));

  test.each<[string, Manifest, DeviceProfile | undefined, 'float32' | 'int8', string]>([
    [
      'faster and as good',
      manifest(60, 60.2),
      twice,
      'int8',
      '2.1 ms in int8, 4.1 ms in float32 on this device; 0.2 points of top-1 more',
    ],
    ['a little worse', manifest(60, 59.6), twice, 'int8', '0.4 points of top-1 less on average'],
    ['too much worse', manifest(60, 59), twice, 'float32', 'but 1.0 points of top-1 less'],
    [
      'not faster',
      manifest(60, 60),
      profileOf(row('float32', 1, 2), row('int8', 1, 2)),
      'float32',
      'int8 is not faster here',
    ],
    ['no profile', manifest(60, 60), undefined, 'float32', 'no profile yet; raccoon bench makes one'],
    [
      'a profile of another encoder',
      manifest(60, 60),
      profileOf(row('float32', 1, 4)),
      'float32',
      'does not compare',
    ],
    ['no int8 encoder', manifest(60), twice, 'float32', 'tiny has no int8 encoder with n=8'],
  ])('%s', (_, of, profile, precision, reason) => {
    const choice = choosePrecision(of, 8, profile);
    expect(choice.precision).toBe(precision);
    expect(choice.reason).toContain(reason);
    expect(choice.reason).toMatch(new RegExp(`^${precision}: `));
  });

  test('nobody measured what it costs', () => {
    const unmeasured = manifest(60, 60);
    for (const point of unmeasured.points) delete point.measured;
    expect(choosePrecision(unmeasured, 8, twice)).toMatchObject({
      precision: 'float32',
      reason: expect.stringContaining('raccoon eval --record'),
    });
  });
});
