import { readFileSync } from 'node:fs';
import { parseManifest, type ExitCalibration } from '@raccoon/bundle';
import { expect, test } from 'vitest';
import { createPolicy, POLICY_NAMES } from './create.ts';
import type { Sighting, Situation } from './policy.ts';

const folder = new URL('../../../../../bundles/imagenet1k-mobilenet/', import.meta.url);
const manifest = parseManifest(readFileSync(new URL('manifest.json', folder), 'utf8'), 'bundle');
const limits = { deadlineMs: 500, bytesPerSecond: 5000 };

const situation = (up: boolean): Situation => ({
  now: 0,
  elapsedMs: 0,
  link: { up, rttMs: 50, bytesPerSecond: 1e6, bytesInFlight: 0, unansweredMs: 0, errorMs: 5 },
  queue: { cloudMs: 10 },
});
const sighting = (margin: number): Sighting => ({
  encoder: { n: 8, precision: 'float32' },
  encodeMs: 20,
  exit: { confidence: margin, margin },
  bytesAt: () => 1800,
});

const calibration: ExitCalibration = {
  n: 8,
  precision: 'float32',
  temperature: 1,
  ece: { before: 0.1, after: 0.05 },
  threshold: 0.5,
  margins: [{ margin: 0, exitTop1: 48, cloudTop1: 66 }],
  trusted: true,
  measured: { data: 'test', calibrated: 100, reported: 100, q: 2, top1: 66, cloudTop1: 66, sent: 70 },
};

test.each(POLICY_NAMES)('%s: a camera without a link is answered here, and saves and restores', (name) => {
  const policy = createPolicy(name, { manifest, limits, blocks: 8, rate: 2, precision: 'float32' });
  expect(policy.name).toBe(name);
  expect(policy.chooseEncoder(situation(false))).toEqual({ n: 8, precision: 'float32' });
  expect(policy.chooseAction(situation(false), sighting(0.3))).toMatchObject({
    kind: 'local',
    degraded: true,
  });
  expect(policy.chooseAction(situation(true), sighting(0.3))).toMatchObject({ kind: 'send', point: 20 });
  const again = createPolicy(name, { manifest, limits, blocks: 8, rate: 2, precision: 'float32' });
  again.restore(JSON.parse(JSON.stringify(policy.save())));
  expect(again.save()).toEqual(policy.save());
  expect(() => again.restore({})).toThrow(expect.objectContaining({ code: 'controller-state' }));
});

test('fixed: the default point, or what was set; without a deadline it waits for the link', () => {
  const fixed = createPolicy('fixed', { manifest });
  expect(fixed.chooseAction(situation(false), sighting(0.9))).toEqual({
    kind: 'send',
    point: manifest.defaultPoint,
    reason: 'n=8 q=2: as it was set',
  });
  const set = createPolicy('fixed', { manifest, blocks: 4, rate: 1, precision: 'int8' });
  expect(set.chooseEncoder(situation(true))).toEqual({ n: 4, precision: 'int8' });
  expect(() => createPolicy('fixed', { manifest, blocks: 3 })).toThrow(
    expect.objectContaining({ code: 'unknown-point' }),
  );
});

test('threshold: local strictly above D0, if the exit is trusted or the user says so', () => {
  const trusted = createPolicy('threshold', { manifest, calibration: [calibration] });
  expect(trusted.chooseAction(situation(true), sighting(0.51))).toEqual({
    kind: 'local',
    degraded: false,
    reason: 'margin 0.51 is above 0.50: the local exit is sure',
  });
  expect(trusted.chooseAction(situation(true), sighting(0.5)).kind).toBe('send');
  const distrusted = createPolicy('threshold', {
    manifest,
    calibration: [{ ...calibration, trusted: false }],
  });
  expect(distrusted.chooseAction(situation(true), sighting(0.99))).toMatchObject({
    kind: 'send',
    reason: 'n=8 q=2: there is no local exit to be trusted',
  });
  const told = createPolicy('threshold', { manifest, threshold: 0.2 });
  expect(told.chooseAction(situation(true), sighting(0.3)).kind).toBe('local');
  const never = createPolicy('threshold', { manifest, threshold: 1 });
  expect(never.chooseAction(situation(true), sighting(1)).kind).toBe('send');
});

test('a bandit never exits where the exit is not trusted', () => {
  const sure: Sighting = { ...sighting(0.9), encoder: { n: 0, precision: 'float32' } };
  expect(createPolicy('ucb', { manifest }).chooseAction(situation(true), sure).kind).toBe('send');
  const told = createPolicy('ucb', { manifest, threshold: 0.8 });
  expect(told.chooseAction(situation(true), sure)).toMatchObject({ kind: 'local', point: 0 });
});

test('token-bucket without a limit of bytes, and a policy that does not exist', () => {
  expect(() => createPolicy('token-bucket', { manifest })).toThrow('set one');
  expect(() => createPolicy('best' as 'auto', { manifest })).toThrow('fixed, threshold');
});
