import type { PreparedImage } from '@raccoon/client/browser';
import { picturesOf } from './pictures.ts';
import type { FromWorker, Settings, ToWorker } from './protocol.ts';
import { openSession, type Session } from './session.ts';

// image -> result, off the page's thread. Only the newest photo and the newest settings count: whoever moves a slider does not
// wait for what it passed.

interface Photo {
  readonly id: number;
  readonly photo: Blob | ImageBitmap;
  prepared?: PreparedImage;
}

let settings: Settings;
let session: Session | undefined;
/** Opened for this deadline, which a client keeps. */
let deadlineMs: number;
let photo: Photo | undefined;
/** The session that has loaded all its encoders. */
let complete: Session | undefined;
/** Something has changed since the last run began. */
let changed = false;
let running = false;
let stop = new AbortController();

// a page's and a worker's `self` differ in what `postMessage` takes; here it is a worker's
const tell = self.postMessage.bind(self) as (message: FromWorker) => void;

self.addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'photo') photo = { id: data.id, photo: data.photo };
  else settings = data.settings;
  // a camera's frame is answered; the next one has the new settings
  if (data.kind === 'settings' && isFrame()) return;
  stop.abort();
  changed = true;
  if (!running) void run();
});

function isFrame(): boolean {
  return photo?.photo instanceof ImageBitmap;
}

async function run(): Promise<void> {
  running = true;
  while (changed) {
    changed = false;
    stop = new AbortController();
    const { signal } = stop;
    try {
      const open = await ready();
      if (photo) await classify(open, photo, signal);
    } catch (error) {
      if (signal.aborted) continue;
      const { message } = error instanceof Error ? error : new Error(String(error));
      tell({ kind: 'failed', message, ...(session && photo && { id: photo.id }) });
    }
  }
  running = false;
}

/** A session for the settings of now. */
async function ready(): Promise<Session> {
  if (session && deadlineMs === settings.deadlineMs) {
    session.set(settings);
    return session;
  }
  const { bundle } = session ?? {};
  await session?.close();
  session = undefined;
  deadlineMs = settings.deadlineMs;
  session = await openSession(
    () => settings,
    (message) => {
      tell(message);
      if (message.kind === 'link' && message.up) linkIsBack();
    },
    bundle,
  );
  if (!bundle) tell({ kind: 'opened', model: session.model, runtime: session.runtime });
  return session;
}

/** The cloud did not answer the last photo. */
let unanswered = false;

/** Asks it again. A camera's next frame is asked anyway. */
function linkIsBack(): void {
  if (!unanswered || isFrame()) return;
  changed = true;
  if (!running) void run();
}

async function classify(open: Session, of: Photo, signal: AbortSignal): Promise<void> {
  of.prepared ??= await open.prepare(of.photo);
  const { answer, bytes } = await open.classify(of.id, of.prepared, signal);
  unanswered = answer.degraded;
  tell({ kind: 'answered', answer });
  if (!isFrame() && !signal.aborted) {
    const { width, height } = open.model;
    const pictures = await picturesOf(of.prepared.pixels, width, height, bytes);
    tell({ kind: 'compared', id: of.id, pictures });
  }
  if (complete === open) return;
  complete = open;
  await open.loadAll().catch(() => undefined); // what does not come is tried again when it is needed
}
