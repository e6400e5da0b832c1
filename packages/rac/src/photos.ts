import { readdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { Bundle } from '@raccoon/bundle';
import { mulberry32 } from './random.ts';

/** A photo and the class that its folder says. */
export interface LabelledPhoto {
  path: string;
  wnid: string;
}

const EXTENSIONS = new Set(['.jpg', '.jpeg', '.png', '.webp']);

/**
 * The photos of an ImageFolder: `<folder>/<wnid>/<photo>`, sorted.
 * @throws Error if there is none
 */
export async function listImageFolder(folder: string): Promise<LabelledPhoto[]> {
  const photos: LabelledPhoto[] = [];
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
    throw new Error(`${folder} is not a folder that can be read`, { cause });
  });
  for (const wnid of entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted()) {
    const names = (await readdir(join(folder, wnid))).toSorted();
    for (const name of names) {
      if (EXTENSIONS.has(extname(name).toLowerCase())) photos.push({ path: join(folder, wnid, name), wnid });
    }
  }
  if (photos.length === 0) {
    throw new Error(`no photos in ${folder}: an ImageFolder has one folder per class, named by its wnid`);
  }
  return photos;
}

/** A class-balanced sample of `limit` photos, the same for the same seed; all of them if `limit` is not below. */
export function samplePhotos(photos: readonly LabelledPhoto[], limit: number, seed = 1): LabelledPhoto[] {
  if (limit >= photos.length) return [...photos];
  const random = mulberry32(seed);
  const classes = new Map<string, LabelledPhoto[]>();
  for (const photo of photos) {
    const members = classes.get(photo.wnid);
    if (members) members.push(photo);
    else classes.set(photo.wnid, [photo]);
  }
  for (const members of classes.values()) shuffle(members, random);
  const sample: LabelledPhoto[] = [];
  for (let round = 0; sample.length < limit; round++) {
    const present = [...classes.values()].flatMap((members) => members[round] ?? []);
    shuffle(present, random); // so that a last, partial round favours no class
    sample.push(...present.slice(0, limit - sample.length));
  }
  return sample;
}

function shuffle<T>(items: T[], random: () => number): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
}

/** Class index of every photo, from its folder's name. @throws Error that names a photo of no class */
export function labelsOf(bundle: Bundle, photos: readonly LabelledPhoto[]): number[] {
  const index = new Map(bundle.manifest.classes.map(({ wnid }, i) => [wnid, i]));
  return photos.map(({ wnid, path }) => {
    const label = index.get(wnid);
    if (label === undefined) throw new Error(`${path}: ${bundle.manifest.name} has no class ${wnid}`);
    return label;
  });
}
