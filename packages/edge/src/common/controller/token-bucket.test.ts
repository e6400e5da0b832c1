import { readFileSync } from 'node:fs';
import { parseManifest } from '@raccoon/bundle';
import { expect, test } from 'vitest';
import type { Sighting, Situation } from './policy.ts';
import { tokenBucketPolicy } from './token-bucket.ts';

const folder = new URL('../../../../../bundles/imagenet1k-mobilenet/', import.meta.url);
const manifest = parseManifest(readFileSync(new URL('manifest.json', folder), 'utf8'), 'bundle');
const point = manifest.points.findIndex(({ n, q }) => n === 8 && q === 2);

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const situation = (now: number): Situation => ({
  now,
  elapsedMs: 0,
  link: { up: true, rttMs: 50, bytesPerSecond: 1e6, bytesInFlight: 0, unansweredMs: 0, errorMs: 5 },
  queue: { cloudMs: 10 },
});

const sighting = (margin: number, bytes: number): Sighting => ({
  encoder: { n: 8, precision: 'float32' },
  encodeMs: 20,
  exit: { confidence: margin, margin },
  bytesAt: () => bytes,
});

interface Image {
  now: number;
  margin: number;
  bytes: number;
}

/** Images five a second, most of them easy, their sizes spread. */
function trace(seed: number, count: number): Image[] {
  const random = seeded(seed);
  let now = 0;
  return Array.from({ length: count }, () => {
    now += 400 * random();
    return { now, margin: 1 - random() ** 3, bytes: 1000 + 1600 * random() };
  });
}

const rate = 2000; // bytes a second, of 9,000 that all images would take
const depth = 10 * rate;

/** What sending images by `sends` gains in all, under a bucket: an image that does not fit stays here. */
function gainOf(images: readonly Image[], sends: (margin: number) => boolean): number {
  let tokens = depth;
  let gain = 0;
  let last = images[0]!.now;
  for (const { now, margin, bytes } of images) {
    tokens = Math.min(depth, tokens + (rate * (now - last)) / 1000);
    last = now;
    if (!sends(margin) || bytes > tokens) continue;
    tokens -= bytes;
    gain += 1 - margin;
  }
  return gain;
}

test.each([1, 2, 3])('the bucket is never overdrawn, and beats every fixed threshold (seed %i)', (seed) => {
  const images = trace(seed, 2000);
  const policy = tokenBucketPolicy(manifest, point, [], { bytesPerSecond: rate });
  let sent = 0;
  let gain = 0;
  for (const { now, margin, bytes } of images) {
    const action = policy.chooseAction(situation(now), sighting(margin, bytes));
    if (action.kind === 'send') {
      sent += bytes;
      gain += 1 - margin;
    }
    const seconds = (now - images[0]!.now) / 1000;
    expect(sent).toBeLessThanOrEqual(rate * seconds + depth + 1e-6);
    const { tokens } = (policy.save() as { learned: { tokens: number } }).learned;
    expect(tokens).toBeGreaterThanOrEqual(0);
    expect(tokens).toBeLessThanOrEqual(depth);
  }
  const greedy = gainOf(images, () => true);
  expect(gain).toBeGreaterThan(1.5 * greedy);
  for (let k = 1; k < 20; k++) expect(gain).toBeGreaterThan(gainOf(images, (margin) => margin < k / 20));
});

test('after a restart it goes on where it was', () => {
  const images = trace(4, 400);
  const run = (restartAt: number): string[] => {
    let policy = tokenBucketPolicy(manifest, point, [], { bytesPerSecond: rate });
    return images.map(({ now, margin, bytes }, i) => {
      if (i === restartAt) {
        const state: unknown = JSON.parse(JSON.stringify(policy.save()));
        policy = tokenBucketPolicy(manifest, point, [], { bytesPerSecond: rate });
        policy.restore(state);
      }
      return policy.chooseAction(situation(now), sighting(margin, bytes)).kind;
    });
  };
  const [without, restarted] = [run(-1), run(200)];
  const same = without.filter((kind, i) => kind === restarted[i]).length;
  expect(same).toBeGreaterThan(390); // the time to the next image, and when thresholds are made anew, are not saved
});

test('a bundle without an exit drops what the bucket does not allow', () => {
  const policy = tokenBucketPolicy(manifest, point, [], { bytesPerSecond: rate });
  const { exit: _, ...blind } = sighting(0, depth + 1);
  expect(policy.chooseAction(situation(0), blind)).toMatchObject({
    kind: 'drop',
    reason: `${depth} of ${depth} bytes in the bucket, ${depth + 1} needed, and this bundle has no local exit`,
  });
});
