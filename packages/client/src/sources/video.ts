import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { ClientError } from '../errors.ts';
import { follow } from '../follow.ts';
import { jpegs } from './jpegs.ts';
import { latest, type LiveImages } from './latest.ts';

export interface VideoOptions {
  /** Frames a second; default: every frame. */
  fps?: number;
  signal?: AbortSignal;
  /** The program; default: `ffmpeg` in the PATH. */
  ffmpeg?: string;
}

export interface CameraOptions extends VideoOptions {
  /** Frames that wait to be taken, at most; default 2. */
  keep?: number;
}

/**
 * The frames of a video file, as JPEGs; ffmpeg decodes it, no faster than they are taken.
 * @throws ClientError `no-ffmpeg`, `ffmpeg` with what it said
 */
export async function* video(
  input: string,
  { fps, signal, ffmpeg = 'ffmpeg' }: VideoOptions = {},
): AsyncGenerator<Uint8Array> {
  const child = spawn(
    ffmpeg,
    [
      '-hide_banner',
      '-loglevel',
      'error',
      '-nostdin',
      ...(/^\/dev\/video\d+$/.test(input) ? ['-f', 'v4l2'] : []),
      '-i',
      input,
      ...(fps === undefined ? [] : ['-vf', `fps=${fps}`]),
      '-f',
      'image2pipe',
      '-c:v',
      'mjpeg',
      '-q:v',
      '2', // the best of 2 to 31
      'pipe:1',
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const failed = once(child, 'error').then(([error]) => error as NodeJS.ErrnoException);
  const closed = once(child, 'close').then(([code]) => code as number | null);
  closed.catch(() => undefined); // `once` rejects at an 'error', which `failed` tells
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4096)));
  const stop = (): void => void child.kill();
  signal?.addEventListener('abort', stop);
  if (signal?.aborted) stop();
  try {
    try {
      yield* jpegs(child.stdout);
    } catch (error) {
      // without a frame, or cut: what ffmpeg has to say comes first
      if (!(error instanceof ClientError) || error.code === 'too-large') throw error;
    }
    const end = await Promise.race([failed, closed.catch(() => failed)]);
    if (signal?.aborted || end === 0) return;
    if (end instanceof Error) throw unusable(ffmpeg, end);
    const why = said.trim().split('\n').at(-1) || `it ended with ${end}`;
    throw new ClientError('ffmpeg', `ffmpeg cannot read ${input}: ${why}`);
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

/**
 * The frames of a camera (`/dev/video0`) or a live stream (`rtsp://...`), as JPEGs. It does not wait: of frames that nobody
 * takes in time the oldest are dropped.
 */
export function camera(input: string, { keep = 2, ...options }: CameraOptions = {}): LiveImages<Uint8Array> {
  const stop = new AbortController();
  const { signal, ...rest } = options;
  const unfollow = signal && follow(stop, signal);
  return latest(video(input, { ...rest, signal: stop.signal }), keep, () => {
    unfollow?.();
    stop.abort();
  });
}

/** Whether it goes on by itself, and does not wait. */
export function isLive(input: string): boolean {
  return /^\/dev\/|^(rtsps?|rtmps?|rtp|udp|srt):/.test(input);
}

function unusable(program: string, cause: NodeJS.ErrnoException): ClientError {
  const remedy =
    cause.code === 'ENOENT'
      ? 'is not installed: `apt install ffmpeg`, `brew install ffmpeg`, or https://ffmpeg.org'
      : `cannot be started: ${cause.message}`;
  return new ClientError('no-ffmpeg', `videos need ffmpeg, and ${program} ${remedy}`, { cause });
}
