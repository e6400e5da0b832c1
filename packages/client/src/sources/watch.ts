import { watch as watchFs } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ClientError } from '../errors.ts';
import { Latest, type LiveImages } from './latest.ts';
import { PHOTO } from './photos.ts';

export interface WatchOptions {
  /** Ends it. */
  signal?: AbortSignal;
  /** A file is complete when its size and time have not changed for so long, ms; default 250. */
  settleMs?: number;
  /** Paths that wait to be taken, at most; of more the oldest are dropped. Default 1,000. */
  keep?: number;
}

/**
 * Paths of the photos that are written or moved into a folder from now on, each once it is complete, and again when it is
 * overwritten.
 * @throws ClientError `not-found`: no such folder, or not any more
 */
export function watch(
  folder: string,
  { signal, settleMs = 250, keep = 1000 }: WatchOptions = {},
): LiveImages<string> {
  const settling = new Map<string, NodeJS.Timeout>();
  const sizes = new Map<string, string>(); // name -> what was seen of it last
  let watcher: ReturnType<typeof watchFs> | undefined;
  const live = new Latest<string>(keep, () => {
    watcher?.close();
    for (const timer of settling.values()) clearTimeout(timer);
    signal?.removeEventListener('abort', end);
  });
  function end(): void {
    live.end();
  }

  function settle(name: string): void {
    clearTimeout(settling.get(name));
    settling.set(
      name,
      setTimeout(() => void look(name), settleMs),
    );
  }

  async function look(name: string): Promise<void> {
    settling.delete(name);
    const path = join(folder, name);
    const entry = await stat(path).catch(() => undefined);
    if (!entry?.isFile()) {
      sizes.delete(name); // moved away
      return;
    }
    const seen = `${entry.size} ${entry.mtimeMs}`;
    if (sizes.get(name) === seen && entry.size > 0) {
      sizes.delete(name);
      live.push(path);
    } else {
      sizes.set(name, seen);
      settle(name);
    }
  }

  async function check(): Promise<void> {
    const there = await stat(folder).catch(() => undefined);
    if (!there?.isDirectory()) live.end({ error: gone() });
  }

  const gone = (cause?: unknown): ClientError =>
    new ClientError('not-found', `${folder} cannot be watched: is it there, and a folder?`, { cause });

  signal?.addEventListener('abort', end);
  if (signal?.aborted) end();
  else
    try {
      watcher = watchFs(folder, (event, name) => {
        if (event === 'rename') void check();
        if (name !== null && PHOTO.test(name)) settle(name);
      });
      watcher.on('error', (cause) => live.end({ error: gone(cause) }));
      void check();
    } catch (cause) {
      live.end({ error: gone(cause) });
    }
  return live;
}
