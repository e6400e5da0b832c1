import type { BatchDone, BatchFailed, ModelFiles } from './worker-frames.ts';
import { WorkerProcess, type Batch, type Death, type WorkerKind } from './worker-process.ts';

export interface PoolOptions {
  readonly workers: number;
  /** Default: it runs the networks itself, one batch at a time. */
  readonly kind?: WorkerKind;
  /** Of one inference. */
  readonly threads: number;
  /** Longest time for a batch, ms; a worker that needs more is killed. */
  readonly maxBatchMs: number;
}

export interface PoolEvents<B extends Batch> {
  /** A worker takes batches: it has every model. */
  ready(worker: WorkerProcess<B>): void;
  done(worker: WorkerProcess<B>, batch: B, outcome: BatchDone | BatchFailed): void;
  /** A worker is gone; `batches`: what it had, oldest first. Only its first `slots` can have to do with it. */
  died(worker: WorkerProcess<B>, batches: readonly B[], death: Death): void;
  /** A worker that was asked to end has ended. */
  retired(worker: WorkerProcess<B>): void;
  /** There is no worker, and the last attempt to start one failed. Attempts go on. */
  broken(why: string): void;
}

/** A worker that dies sooner than this after it was ready, ms, makes the next wait. */
const YOUNG_MS = 10_000;
/** The usual worker. */
export const EMBEDDED: WorkerKind = { program: 'worker', slots: 1 };
const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 30_000;

/** Worker processes with the same models. One that dies is replaced, for as long as the service runs. */
export class WorkerPool<B extends Batch> {
  readonly #options: PoolOptions;
  readonly #events: PoolEvents<B>;
  readonly #all = new Set<WorkerProcess<B>>();
  /** Those that have every model. */
  readonly #ready = new Set<WorkerProcess<B>>();
  /** Kept, because a later worker needs them and files on a disk may have changed by then. */
  readonly #models = new Map<number, ModelFiles>();
  readonly #delays = new Set<NodeJS.Timeout>();
  #state: 'starting' | 'running' | 'stopping' = 'starting';
  #spawned = 0;
  #earlyDeaths = 0;

  constructor(options: PoolOptions, events: PoolEvents<B>) {
    this.#options = options;
    this.#events = events;
  }

  /** The workers that take batches. */
  get ready(): ReadonlySet<WorkerProcess<B>> {
    return this.#ready;
  }

  /** Starts every worker. @throws Error when one of them cannot; then none is left */
  async start(): Promise<void> {
    try {
      await Promise.all(Array.from({ length: this.#options.workers }, () => this.#spawn()));
      if (this.#ready.size < this.#options.workers) throw new Error('it died while the others started');
      this.#state = 'running';
    } catch (cause) {
      await this.stop(0);
      throw new Error(`a worker could not start: ${(cause as Error).message}`, { cause });
    }
  }

  /** Loads a model in every worker. @throws Error when one of them cannot, or none is there; then none has it */
  async load(model: number, files: ModelFiles): Promise<void> {
    if (this.#ready.size === 0) throw new Error('no worker is there to try it: load it again later');
    const { threads } = this.#options;
    const inUse = this.#models.size > 0;
    this.#models.set(model, files); // a worker that starts meanwhile loads it, too
    try {
      const workers = [...this.#ready];
      // one after another, so that the others serve what they have
      if (inUse) for (const worker of workers) await worker.load(model, files, threads);
      else await Promise.all(workers.map((worker) => worker.load(model, files, threads)));
    } catch (error) {
      this.unload(model);
      throw error;
    }
  }

  unload(model: number): void {
    this.#models.delete(model);
    for (const worker of this.#all) worker.unload(model);
  }

  /** Lets every worker finish what it has; those that have not after `graceMs` are killed. */
  async stop(graceMs?: number): Promise<void> {
    this.#state = 'stopping';
    for (const delay of this.#delays) clearTimeout(delay);
    const workers = [...this.#all];
    for (const worker of workers) worker.end();
    const killAll = (): void => workers.forEach((worker) => worker.kill());
    const timer = graceMs === undefined ? undefined : setTimeout(killAll, graceMs);
    await Promise.all(workers.map(({ exited }) => exited));
    clearTimeout(timer);
  }

  async #spawn(): Promise<void> {
    const { kind = EMBEDDED, maxBatchMs } = this.#options;
    const worker = new WorkerProcess<B>(this.#spawned++, kind, maxBatchMs, {
      done: (...facts) => this.#events.done(...facts),
      died: (_, batches, death) => this.#died(worker, batches, death),
    });
    this.#all.add(worker);
    await worker.started;
    try {
      // models that are added meanwhile come along
      for (const [model, files] of this.#models) await worker.load(model, files, this.#options.threads);
    } catch (error) {
      worker.kill({ how: 'crashed', message: (error as Error).message });
      throw error;
    }
    worker.readySince = performance.now();
    this.#ready.add(worker);
    this.#events.ready(worker);
  }

  #died(worker: WorkerProcess<B>, batches: readonly B[], death: Death): void {
    this.#all.delete(worker);
    this.#ready.delete(worker);
    const stopping = this.#state === 'stopping';
    // before the others hear of the death, so that they can ask
    if (!stopping && worker.readySince === undefined && this.#ready.size === 0) {
      this.#events.broken(death.message);
    }
    if (stopping && batches.length === 0) this.#events.retired(worker);
    else this.#events.died(worker, batches, death);
    if (this.#state === 'running') this.#replace(worker.readySince);
  }

  #replace(readySince: number | undefined): void {
    if (readySince !== undefined && performance.now() - readySince > YOUNG_MS) this.#earlyDeaths = 0;
    const delayMs = this.#earlyDeaths === 0 ? 0 : FIRST_DELAY_MS * 2 ** (this.#earlyDeaths - 1);
    this.#earlyDeaths++;
    const respawn = (): void => {
      this.#delays.delete(delay);
      this.#spawn().catch(() => undefined); // its death comes here again
    };
    const delay = setTimeout(respawn, Math.min(delayMs, LAST_DELAY_MS));
    this.#delays.add(delay);
  }
}
