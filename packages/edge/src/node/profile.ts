import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Manifest } from '@raccoon/bundle';
import { parseProfile, type DeviceProfile } from '../common/profile.ts';

/** Where this user's profile of a bundle is: `$XDG_CACHE_HOME/raccoon/profiles/<bundle>-<version>.json`, or in `~/.cache`. */
export function profilePath({ name, version }: Pick<Manifest, 'name' | 'version'>): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(cache, 'raccoon', 'profiles', `${name}-${version}.json`);
}

/** What a profile says of the machine that it was measured on, as far as times depend on it. */
export function thisDevice(): Pick<DeviceProfile['device'], 'cpu' | 'processors'> {
  return { cpu: cpus()[0]?.model ?? process.arch, processors: availableParallelism() };
}

/**
 * The profile that `raccoon bench` wrote on this device for this bundle; undefined where there is none, or it is of another
 * machine (home folders move, and are shared).
 * @throws EdgeError `profile` when the file is damaged
 */
export async function findProfile(
  manifest: Pick<Manifest, 'name' | 'version'>,
): Promise<DeviceProfile | undefined> {
  const path = profilePath(manifest);
  const json = await readFile(path, 'utf8').catch(() => undefined);
  if (json === undefined) return undefined;
  const profile = parseProfile(json, path);
  const here = thisDevice();
  const same = profile.device.cpu === here.cpu && profile.device.processors === here.processors;
  return same ? profile : undefined;
}

/** Writes a profile; whoever reads it meanwhile sees the old one or the new one. */
export async function saveProfile(profile: DeviceProfile, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  await writeFile(unfinished, `${JSON.stringify(profile, undefined, 2)}\n`);
  await rename(unfinished, path);
}
