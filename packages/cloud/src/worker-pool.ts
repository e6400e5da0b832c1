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

/** A worker that dies is replaced; after this many deaths in a row without a batch that succeeded, no more. */
const MAX_DEATHS = 3;

/** Worker threads that run batches. A worker that dies is replaced and its batch fails with `unavailable`. */
export class WorkerPool {
  readonly #slots = new Set<Slot>();
  readonly #data: WorkerData;
  readonly #onFree: () => void;
  #state: 'starting' | 'running' | 'stopping' | 'ended' = 'starting';
  #deaths = 0;

  /**
   * @param data the same for every worker
   * @param onFree called whenever a batch can be run
   */
  constructor(data: WorkerData, onFree: () => void) {
    this.#data = data;
    this.#onFree = onFree;
  }

  /**
   * Starts `count` workers; resolves when all have loaded the networks and run once.
   * @throws Error when one of them cannot; then none is left
   */
  async start(count: number): Promise<void> {
    try {
      await Promise.all(Array.from({ length: count }, () => this.#spawn()));
      if (this.#slots.size < count) throw new Error('a worker died while the others started');
      this.#state = 'running';
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Whether a batch can be run: by a worker, or, once all have ended, only to be refused. */
  get hasFree(): boolean {
    return this.#state === 'ended' || (this.#state === 'running' && this.#free() !== undefined);
  }

  /** Runs a batch on a free worker. @throws TransportError `unavailable` when the worker died, `internal` */
  run(items: BatchItem[]): Promise<BatchOutcome> {
    if (this.#state === 'ended') {
      return Promise.reject(
        new TransportError('unavailable', 'this cloud has no workers any more; ask another'),
      );
    }
    const slot = this.#free();
    if (!slot) throw new Error('run() without a free worker');
    return new Promise((resolve, reject) => {
      slot.running = { resolve, reject };
      slot.worker.postMessage({ kind: 'batch', items } satisfies ToWorker);
    });
  }

  /** Lets running batches finish, then ends every worker. */
  async stop(): Promise<void> {
    this.#state = 'stopping';
    await Promise.all(
      Array.from(
        this.#slots,
        ({ worker }) =>
          new Promise<void>((resolve) => {
            worker.once('exit', () => resolve());
            worker.postMessage({ kind: 'stop' } satisfies ToWorker); // taken after the running batch
          }),
      ),
    );
    this.#end();
  }

  #free(): Slot | undefined {
    return [...this.#slots].find((slot) => slot.ready && !slot.running);
  }

  #spawn(): Promise<void> {
    // no --conditions of ours: the compiled worker must not be sent to sources
    const worker = new Worker(workerFile, { workerData: this.#data, execArgv: [] });
    const slot: Slot = { worker, ready: false, running: undefined };
    this.#slots.add(slot);
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
      worker.on('error', (error: Error) => {
        cause = error;
      });
      worker.on('exit', (code) => {
        this.#slots.delete(slot);
        slot.running?.reject(
          new TransportError('unavailable', 'the worker died while it ran this image; send it again', {
            cause,
          }),
        );
        reject(new Error(`a worker could not start: ${cause?.message ?? `exit code ${code}`}`, { cause }));
        if (this.#state === 'running') this.#replace();
      });
    });
  }

  #replace(): void {
    if (++this.#deaths <= MAX_DEATHS) {
      this.#spawn().catch(() => undefined); // its exit comes here again
    } else if (this.#slots.size === 0) {
      this.#end();
    }
  }

  #end(): void {
    this.#state = 'ended';
    this.#onFree();
  }

  #finish(slot: Slot, message: Exclude<FromWorker, { kind: 'ready' }>): void {
    const { running } = slot;
    slot.running = undefined;
    if (message.kind === 'done') {
      this.#deaths = 0;
      running?.resolve(message);
    } else {
      running?.reject(new TransportError('internal', `inference failed: ${message.message}`));
    }
  }
}
