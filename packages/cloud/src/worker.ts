// A worker process. It reads a message, does what it says, answers, and reads the next, blocking: a socket pair is its
// only world, and nothing else may come between two batches. The service's end of the socket closes when the service
// ends, however it ends, and so does the worker.
import { readSync, writeSync } from 'node:fs';
import {
  LENGTH_BYTES,
  decodeToWorker,
  encodeFromWorker,
  type FromWorker,
  type ToWorker,
} from './worker-frames.ts';
import type { WorkerModel } from './worker-model.ts';

const SOCKET = 3;

// Ctrl-C reaches every process of the terminal: the service drains, and needs its workers for that. Before ONNX Runtime
// is loaded, which takes longer than all else here.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
const { WorkerModel: Model } = await import('./worker-model.ts');

const models = new Map<number, WorkerModel>();
const length = Buffer.alloc(LENGTH_BYTES);
let room = Buffer.alloc(1 << 16);

/** Fills `buffer` from the socket; false at its end. */
function fill(buffer: Buffer): boolean {
  for (let at = 0; at < buffer.length;) {
    const count = readSync(SOCKET, buffer, at, buffer.length - at, null);
    if (count === 0) return false;
    at += count;
  }
  return true;
}

/** The next message, or undefined when the service is gone. It lasts until the one after it is read. */
function receive(): ToWorker | undefined {
  if (!fill(length)) return undefined;
  const bytes = length.readUInt32LE(0);
  // what a load needs is not kept
  const buffer =
    bytes > 1 << 20 ? Buffer.alloc(bytes) : room.length < bytes ? (room = Buffer.alloc(2 * bytes)) : room;
  const frame = buffer.subarray(0, bytes);
  return fill(frame) ? decodeToWorker(frame) : undefined;
}

function send(message: FromWorker): void {
  const frame = encodeFromWorker(message);
  for (let at = 0; at < frame.length;) at += writeSync(SOCKET, frame, at);
}

async function answer(message: ToWorker): Promise<FromWorker | undefined> {
  const { kind, model } = message;
  if (kind === 'load') {
    try {
      models.set(model, await Model.load(message.files, message.threads));
      return { kind: 'loaded', model };
    } catch (error) {
      return { kind: 'not-loaded', model, message: (error as Error).message };
    }
  }
  if (kind === 'unload') {
    await models.get(model)?.release();
    models.delete(model);
    return undefined;
  }
  const { id, items } = message;
  try {
    const loaded = models.get(model);
    if (!loaded) throw new Error(`model ${model} is not loaded`);
    return { ...(await loaded.run(items)), id };
  } catch (error) {
    return {
      kind: 'failed',
      id,
      code: 'internal',
      reason: '',
      message: `inference failed: ${(error as Error).message}`,
    };
  }
}

try {
  send({ kind: 'started' });
  for (let message = receive(); message; message = receive()) {
    const said = await answer(message);
    if (said) send(said);
  }
} catch (error) {
  // the service is gone, in the middle of something
  if (!['EPIPE', 'ECONNRESET'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
}
process.exit(0);
