import { spawn, type ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import {
  FrameReader,
  decodeFromWorker,
  encodeToWorker,
  type BatchDone,
  type BatchFailed,
  type BatchItem,
  type FromWorker,
  type ModelFiles,
  type ToWorker,
} from './worker-frames.ts';

// by the package's own name, so that it is the compiled file also when the rest runs from source
const programs = dirname(createRequire(import.meta.url).resolve('@raccoon/cloud/worker'));

/** What kind of process a worker is. */
export interface WorkerKind {
  /** It runs the networks itself, or has a backend run them. */
  readonly program: 'worker' | 'backend-worker';
  /** Batches that it has under way at a time. */
  readonly slots: number;
}

/** What a worker is told to run. */
export interface Batch {
  /** The number under which the model was loaded. */
  readonly model: number;
  readonly items: readonly BatchItem[];
}

/** How a worker ended. */
export interface Death {
  /** `crashed`: by itself; `hung`: killed because it did not answer; `killed`: by somebody else. */
  readonly how: 'crashed' | 'hung' | 'killed';
  readonly message: string;
}

export interface WorkerEvents<B extends Batch> {
  done(worker: WorkerProcess<B>, batch: B, outcome: BatchDone | BatchFailed): void;
  /** It is gone; `batches`: what it had, oldest first. Only its first `slots` can have to do with it. */
  died(worker: WorkerProcess<B>, batches: readonly B[], death: Death): void;
}

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

/**
 * One child process. What it does not run yet waits in its socket, so a second batch may be there while the first runs.
 * Killing it harms nobody else: native code that crashes does just that.
 */
export class WorkerProcess<B extends Batch> {
  readonly id: number;
  readonly slots: number;
  /** Resolves when it can be told something. @throws Error it could not start */
  readonly started: Promise<void>;
  /** Resolves when it is gone. */
  readonly exited: Promise<void>;
  /** `performance.now()` when it had every model, ms. */
  readySince: number | undefined;
  /** `performance.now()` when the batch that it runs began, ms. */
  busySince = 0;
  readonly #child: ChildProcess;
  readonly #socket: Socket | undefined;
  readonly #batches: B[] = [];
  /** Of each of them. */
  readonly #ids: number[] = [];
  readonly #loads = new Map<number, Waiter>();
  readonly #hangMs: number;
  readonly #events: WorkerEvents<B>;
  #nextId = 0;
  #starting = true;
  #ending = false;
  #hangTimer: NodeJS.Timeout | undefined;
  #cause: Death | undefined;

  /** @param hangMs longest time for a batch or a load; then it is killed */
  constructor(id: number, { program, slots }: WorkerKind, hangMs: number, events: WorkerEvents<B>) {
    this.id = id;
    this.slots = slots;
    this.#hangMs = hangMs;
    this.#events = events;
    // no options of this process: the compiled worker must not be sent to sources
    const file = join(programs, `${program}.js`);
    this.#child = spawn(process.execPath, [file], { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
    this.#socket = this.#child.stdio[3] as Socket | undefined; // a pipe of Node is a socket pair; none if spawning failed
    let start: Waiter;
    this.started = new Promise((resolve, reject) => {
      start = { resolve, reject };
    });
    this.started.catch(() => undefined); // its death is an event, too
    this.exited = new Promise((resolve) => {
      let ended = false;
      const end = (death: Death): void => {
        if (ended) return;
        ended = true;
        clearTimeout(this.#hangTimer);
        const error = new Error(death.message);
        start.reject(error);
        for (const load of this.#loads.values()) load.reject(error);
        resolve();
        events.died(this, this.#batches.splice(0), this.#cause ?? death);
      };
      this.#child.on('error', ({ message }) =>
        end({ how: 'crashed', message: `it cannot start: ${message}` }),
      );
      // after the last byte that it wrote
      this.#child.on('close', (code, signal) => end(deathOf(code, signal)));
    });
    const reader = new FrameReader();
    this.#socket?.on('error', () => undefined); // it is dying: `close` follows
    this.#socket?.on('data', (chunk: Buffer) =>
      reader.push(chunk, (frame) => this.#receive(decodeFromWorker(frame), start)),
    );
    this.#watch();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Batches that it has, oldest first: as many as it has slots run. */
  get batches(): readonly B[] {
    return this.#batches;
  }

  run(batch: B): void {
    const id = this.#nextId++ % 2 ** 32;
    this.#ids.push(id);
    if (this.#batches.push(batch) === 1) this.#begin();
    this.#send({ kind: 'batch', id, model: batch.model, items: batch.items });
  }

  /** Resolves when the model was loaded and run once. @throws Error */
  load(model: number, files: ModelFiles, threads: number): Promise<void> {
    const loaded = new Promise<void>((resolve, reject) => {
      this.#loads.set(model, { resolve, reject });
    });
    this.#send({ kind: 'load', model, files, threads });
    this.#watch();
    return loaded;
  }

  unload(model: number): void {
    this.#send({ kind: 'unload', model });
  }

  /** It ends by itself after what it has. */
  end(): void {
    this.#ending = true;
    this.#socket?.end();
    this.#watch();
  }

  /** Ends it now, whatever it does. */
  kill(cause?: Death): void {
    this.#cause ??= cause;
    this.#child.kill('SIGKILL');
  }

  #send(message: ToWorker): void {
    this.#socket?.write(encodeToWorker(message));
  }

  #receive(message: FromWorker, start: Waiter): void {
    switch (message.kind) {
      case 'started':
        this.#starting = false;
        start.resolve();
        break;
      case 'loaded':
        this.#loads.get(message.model)?.resolve();
        this.#loads.delete(message.model);
        break;
      case 'not-loaded':
        this.#loads.get(message.model)?.reject(new Error(message.message));
        this.#loads.delete(message.model);
        break;
      default: {
        const at = this.#ids.indexOf(message.id);
        this.#ids.splice(at, 1);
        const [batch] = this.#batches.splice(at, 1);
        if (this.#batches.length > 0) this.#begin();
        this.#events.done(this, batch!, message);
      }
    }
    this.#watch();
  }

  #begin(): void {
    this.busySince = performance.now();
    this.#watch();
  }

  /** Whoever owes an answer, or has to end, does so in time. */
  #watch(): void {
    clearTimeout(this.#hangTimer);
    if (!this.#starting && !this.#ending && this.#loads.size === 0 && this.#batches.length === 0) return;
    const message = `it did not answer within ${this.#hangMs} ms`;
    this.#hangTimer = setTimeout(() => this.kill({ how: 'hung', message }), this.#hangMs);
  }
}

function deathOf(code: number | null, signal: NodeJS.Signals | null): Death {
  if (signal === 'SIGKILL' || signal === 'SIGTERM' || signal === 'SIGINT') {
    return { how: 'killed', message: `${signal} from outside; out of memory?` };
  }
  return { how: 'crashed', message: signal ?? `exit code ${code}` };
}
