import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
  appendFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Latest, latest } from './latest.ts';
import { photos } from './photos.ts';
import { camera, isLive, video } from './video.ts';
import { watch } from './watch.ts';

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-sources-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

test('photos: files as they are, folders and patterns by what they hold', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'deep/deeper'), { recursive: true });
  const names = ['b.JPG', 'a.png', 'notes.txt', 'deep/c.webp', 'deep/deeper/d.jpeg', 'x[1].jpg'];
  for (const name of names) writeFileSync(join(folder, name), '');
  const found = async (paths: string[], recursive = false): Promise<string[]> =>
    (await all(photos(paths, { recursive }))).map((path) => path.replace(`${folder}/`, ''));
  expect(await found([folder])).toEqual(['a.png', 'b.JPG', 'x[1].jpg']);
  expect(await found([folder], true)).toEqual([
    'a.png',
    'b.JPG',
    'deep/c.webp',
    'deep/deeper/d.jpeg',
    'x[1].jpg',
  ]);
  expect(await found([join(folder, 'notes.txt'), 'nobody.jpg'])).toEqual(['notes.txt', 'nobody.jpg']);
  expect(await found([join(folder, '**/*.{webp,jpeg}')])).toEqual(['deep/c.webp', 'deep/deeper/d.jpeg']);
  expect(await found([join(folder, 'x[1].jpg')])).toEqual(['x[1].jpg']); // a file with this very name
  await expect(found([join(folder, '*.gif')])).rejects.toMatchObject({ code: 'not-found' });
  mkdirSync(join(folder, 'empty'));
  await expect(found([join(folder, 'empty')])).rejects.toMatchObject({
    code: 'no-photos',
    message: expect.stringContaining('no photos in'),
  });
});

test('the latest: the oldest are dropped and counted, an error comes after what is there', async () => {
  const live = new Latest<number>(2);
  for (const item of [1, 2, 3, 4]) live.push(item);
  live.end({ error: new Error('unplugged') });
  live.push(5);
  expect([await live.next(), await live.next()].map(({ value }) => value as number)).toEqual([3, 4]);
  expect(live.dropped).toBe(2);
  await expect(live.next()).rejects.toThrow('unplugged');
  expect(await live.next()).toEqual({ done: true, value: undefined });
  expect(() => new Latest(0)).toThrow(RangeError);
});

test('the latest: a reader that leaves while it waits ends the source', async () => {
  const left = { ended: false };
  async function* never(): AsyncGenerator<number> {
    try {
      yield 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
      yield 2;
    } finally {
      left.ended = true;
    }
  }
  const live = latest(never(), 1);
  expect((await live.next()).value).toBe(1);
  const waiting = live.next();
  await live.return();
  expect((await waiting).done).toBe(true);
  while (!left.ended) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(await all(latest(never(), 9))).toEqual([1, 2]);
});

test('watching: what is written slowly comes once and whole, what is moved in comes, others do not', async () => {
  const folder = temporaryFolder();
  const there = join(folder, 'there.jpg');
  writeFileSync(there, 'before');
  const stop = new AbortController();
  const live = watch(folder, { settleMs: 30, signal: stop.signal });
  const slow = join(folder, 'slow.jpg');
  writeFileSync(slow, 'a');
  writeFileSync(join(folder, 'notes.txt'), 'no photo');
  writeFileSync(join(folder, 'half.jpg.part'), 'not yet');
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    appendFileSync(slow, 'more');
  }
  expect((await live.next()).value).toBe(slow);
  renameSync(join(folder, 'half.jpg.part'), join(folder, 'half.jpg'));
  expect((await live.next()).value).toBe(join(folder, 'half.jpg'));
  writeFileSync(there, 'overwritten');
  expect((await live.next()).value).toBe(there);
  const waiting = live.next();
  stop.abort();
  expect((await waiting).done).toBe(true);
  expect(live.dropped).toBe(0);
});

test('watching what is not there, and what goes away', async () => {
  const folder = join(temporaryFolder(), 'camera');
  await expect(watch(folder).next()).rejects.toMatchObject({ code: 'not-found' });
  mkdirSync(folder);
  const live = watch(folder);
  const waiting = live.next();
  rmSync(folder, { recursive: true });
  await expect(waiting).rejects.toMatchObject({ code: 'not-found' });
});

test('without ffmpeg: says what to do', async () => {
  await expect(all(video('film.mp4', { ffmpeg: 'no-such-ffmpeg' }))).rejects.toMatchObject({
    code: 'no-ffmpeg',
    message: expect.stringMatching(/not installed: `apt install ffmpeg`/),
  });
});

test('a camera that is left while it gives nothing: its ffmpeg ends', async () => {
  const folder = temporaryFolder();
  const pidFile = join(folder, 'pid');
  const silent = join(folder, 'ffmpeg');
  writeFileSync(
    silent,
    `#!/bin/sh\necho $$ > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; exec sleep 60\n`,
  );
  chmodSync(silent, 0o755);
  const live = camera('/dev/video99', { ffmpeg: silent });
  const waiting = live.next();
  while (!existsSync(pidFile)) await new Promise((resolve) => setTimeout(resolve, 5));
  const pid = Number(readFileSync(pidFile, 'utf8'));
  expect(() => process.kill(pid, 0)).not.toThrow();
  await live.return();
  expect((await waiting).done).toBe(true);
  const gone = (): boolean => !existsSync(`/proc/${pid}`);
  while (!gone()) await new Promise((resolve) => setTimeout(resolve, 5));
});

function hasFfmpeg(): boolean {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

// Loud: the name of a skipped test is in the report, and says why.
const withFfmpeg = hasFfmpeg() ? test : test.skip;

withFfmpeg('ffmpeg is installed: frames of a video, no more than wanted', async () => {
  const film = join(temporaryFolder(), 'film.avi');
  const source = ['-f', 'lavfi', '-i', 'testsrc=duration=2:size=64x48:rate=10'];
  execFileSync('ffmpeg', ['-loglevel', 'error', ...source, '-c:v', 'mjpeg', film]);
  const frames = await all(video(film));
  expect(frames).toHaveLength(20);
  for (const frame of frames)
    expect([...frame.subarray(0, 2), ...frame.subarray(-2)]).toEqual([0xff, 0xd8, 0xff, 0xd9]);
  expect((await all(video(film, { fps: 2 }))).length).toBeLessThanOrEqual(5);
  for await (const frame of video(film)) {
    expect(frame.length).toBeGreaterThan(100);
    break;
  }
  await expect(all(video('nobody.mp4'))).rejects.toMatchObject({
    code: 'ffmpeg',
    message: expect.stringMatching(/nobody\.mp4: .*No such file/),
  });
  expect(await all(video(film, { signal: AbortSignal.abort() }))).toEqual([]);
  const live = camera(film, { keep: 1 });
  while (live.dropped === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect((await live.next()).done).toBe(false);
});

test('what is live', () => {
  expect(['/dev/video0', 'rtsp://cam/1', 'udp://@:1234'].every(isLive)).toBe(true);
  expect(['film.mp4', 'dev/video0', 'https://example.org/a.mp4'].some(isLive)).toBe(false);
});
