// A worker process of a service with a backend. It decodes, and another server runs the networks: unlike worker.ts it has several
// batches under way at a time, so it reads as messages come. It ends after its last answer, once the service's end of the socket is closed.
import { Socket } from 'node:net';
import { connectOip } from '@raccoon/transport/node';
import { BackendFailure, BackendModel } from './backend-model.ts';
import {
  FrameReader,
  decodeToWorker,
  encodeFromWorker,
  type FromWorker,
  type ToWorker,
} from './worker-frames.ts';

const SOCKET = 3;

// Ctrl-C reaches every process of the terminal: the service drains, and needs its workers for that.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

const models = new Map<number, BackendModel>();
const socket = new Socket({ fd: SOCKET, readable: true, writable: true, allowHalfOpen: true });
const reader = new FrameReader();
let ended = false;
let open = 0;

socket.on('data', (chunk: Buffer) => reader.push(chunk, (frame) => void answer(decodeToWorker(frame))));
socket.on('end', () => {
  ended = true;
  endIfDone();
});
socket.on('error', () => process.exit(0)); // the service is gone, in the middle of something
send({ kind: 'started' });

function send(message: FromWorker): void {
  socket.write(encodeFromWorker(message));
}

async function answer(message: ToWorker): Promise<void> {
  open++;
  const said = await take(message);
  if (said) send(said);
  open--;
  endIfDone();
}

async function take(message: ToWorker): Promise<FromWorker | undefined> {
  const { kind, model } = message;
  if (kind === 'load') {
    try {
      const { remote } = message.files;
      if (!remote) throw new Error('a model without a backend in a worker for backends');
      models.set(model, new BackendModel({ ...message.files, remote }, connectOip(remote.address, remote)));
      return { kind: 'loaded', model };
    } catch (error) {
      return { kind: 'not-loaded', model, message: (error as Error).message };
    }
  }
  if (kind === 'unload') {
    models.get(model)?.release();
    models.delete(model);
    return undefined;
  }
  const { id, items } = message;
  try {
    const loaded = models.get(model);
    if (!loaded) throw new Error(`model ${model} is not loaded`);
    return { ...(await loaded.run(items)), id };
  } catch (error) {
    const { code, reason } =
      error instanceof BackendFailure ? error : { code: 'internal' as const, reason: '' };
    return { kind: 'failed', id, code, reason, message: (error as Error).message };
  }
}

/** What was written is on its way before the process ends. */
function endIfDone(): void {
  if (ended && open === 0) socket.end(() => process.exit(0));
}
