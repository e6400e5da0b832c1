import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { TransportError } from '@raccoon/transport';
import type { BatchItem, FromWorker, Outcome, ToWorker, WorkerData } from './worker-messages.ts';

export interface BatchOutcome {
  outcomes: Outcome[];
  decodeMs: number;
  inferMs: number;
}

interface Running {
  resolve(outcome: BatchOutcome): void;
  reject(error: TransportError): void;
}

interface Slot {
  worker: Worker;
  ready: boolean;
  running: Running | undefined;
}

// by the package's own name, so that it is the compiled file also when the rest runs from source
const workerFile = createRequire(import.meta.url).resolve('@raccoon/cloud/worker');

/** A worker that dies is replaced; this many deaths in a row before any batch succeeds end the pool. */
const MAX_FAILED_STARTS = 3;

/** Worker threads that run batches. A worker that dies is replaced and its batch fails with `unavailable`. */
export class WorkerPool {
  readonly #slots: Slot[] = [];
  readonly #data: WorkerData;
  readonly #onFree: () => void;
  #stopping = false;
  #failedStarts = 0;

  /**
   * @param data the same for every worker
   * @param onFree called whenever a worker can take a batch
   */
  constructor(data: WorkerData, onFree: () => void) {
    this.#data = data;
    this.#onFree = onFree;
  }

  /** Starts `count` workers; resolves when all have loaded the networks and run once. */
  async start(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#spawn()));
  }

  get hasFree(): boolean {
    return !this.#stopping && this.#slots.some(isFree);
  }

  /** Runs a batch on a free worker. @throws TransportError `unavailable` when the worker died, `internal` */
  run(items: BatchItem[]): Promise<BatchOutcome> {
    const slot = this.#slots.find(isFree);
    if (!slot) throw new Error('run() without a free worker');
    return new Promise((resolve, reject) => {
      slot.running = { resolve, reject };
      slot.worker.postMessage({ kind: 'batch', items } satisfies ToWorker);
    });
  }

  /** Lets running batches finish, then ends every worker. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      this.#slots.map(
        (slot) =>
          new Promise<void>((resolve) => {
            slot.worker.once('exit', () => resolve());
            slot.worker.postMessage({ kind: 'stop' } satisfies ToWorker); // taken after the running batch
          }),
      ),
    );
  }

  #spawn(): Promise<void> {
    const worker = new Worker(workerFile, { workerData: this.#data });
    const slot: Slot = { worker, ready: false, running: undefined };
    this.#slots.push(slot);
    return new Promise((resolve, reject) => {
      let cause: Error | undefined;
      worker.on('message', (message: FromWorker) => {
        if (message.kind === 'ready') {
          slot.ready = true;
          resolve();
        } else {
          this.#finish(slot, message);
        }
        this.#onFree();
      });
      worker.on('error', (error) => {
        cause = error;
      });
      worker.on('exit', (code) => {
        this.#slots.splice(this.#slots.indexOf(slot), 1);
        slot.running?.reject(
          new TransportError('unavailable', 'the worker died while it ran this image; send it again', {
            cause,
          }),
        );
        reject(new Error(`a worker could not start: ${cause?.message ?? `exit code ${code}`}`, { cause }));
        if (!this.#stopping && slot.ready && ++this.#failedStarts <= MAX_FAILED_STARTS) {
          this.#spawn().catch(() => undefined); // its own exit handler decides what next
        }
      });
    });
  }

  #finish(slot: Slot, message: Exclude<FromWorker, { kind: 'ready' }>): void {
    const { running } = slot;
    slot.running = undefined;
    if (message.kind === 'done') {
      this.#failedStarts = 0;
      running?.resolve(message);
    } else {
      running?.reject(new TransportError('internal', `inference failed: ${message.message}`));
    }
  }
}

function isFree(slot: Slot): boolean {
  return slot.ready && !slot.running;
}
