import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { DeviceProfile } from '../common/profile.ts';
import { findProfile, profilePath, saveProfile, thisDevice } from './profile.ts';

const bundle = { name: 'tiny', version: '1.0.0' };
const profile: DeviceProfile = {
  format: 'raccoon-profile',
  version: 1,
  measuredAt: '2026-11-21T15:00:00.000Z',
  device: { ...thisDevice(), memoryBytes: 1e9, platform: 'linux x64', node: '20', onnxRuntime: '1' },
  bundle,
  photos: 17,
  warmUps: 10,
  repeats: 50,
  rows: [
    {
      n: 0,
      precision: 'float32',
      threads: 1,
      spin: false,
      q: 2,
      loadMs: 20,
      imageMs: { p50: 3, p95: 4 },
      encoderMs: { p50: 1, p95: 1 },
      codecMs: { p50: 1, p95: 1 },
      totalMs: { p50: 5, p95: 6 },
      imagesPerSecond: 100,
      macs: 10,
      macsPerSecond: 1000,
      bytes: 1800,
      peakRssBytes: 1e8,
    },
  ],
};

let cache: string;
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'raccoon-profile-'));
  vi.stubEnv('XDG_CACHE_HOME', cache);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(cache, { recursive: true });
});

test('what was saved is found, and nothing else is left', async () => {
  const path = profilePath(bundle);
  expect(path).toBe(join(cache, 'raccoon', 'profiles', 'tiny-1.0.0.json'));
  expect(await findProfile(bundle)).toBeUndefined();
  await saveProfile(profile, path);
  expect(await findProfile(bundle)).toEqual(profile);
  expect(await findProfile({ ...bundle, version: '1.0.1' })).toBeUndefined();
  expect(readdirSync(dirname(path))).toEqual(['tiny-1.0.0.json']);
});

test("another machine's is as good as none", async () => {
  await saveProfile({ ...profile, device: { ...profile.device, cpu: 'abacus' } }, profilePath(bundle));
  expect(await findProfile(bundle)).toBeUndefined();
});

test('a damaged one is an error that says so', async () => {
  await saveProfile(profile, profilePath(bundle));
  writeFileSync(profilePath(bundle), '{"format":');
  await expect(findProfile(bundle)).rejects.toMatchObject({ code: 'profile' });
});
