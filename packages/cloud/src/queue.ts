/** What the queue needs to know of a request. */
export interface Queued {
  /** Answered already: cancelled, or past its deadline. Not computed when the batch is cut. */
  readonly settled: boolean;
  /** `performance.now()` at arrival, ms. */
  readonly arrivedAt: number;
}

export interface BatchLimits {
  /** Images in a batch, at most. */
  maxBatch: number;
  /** How long the first request of a batch waits for company while a worker is idle, ms. */
  maxBatchDelayMs: number;
  /** Requests that wait, at most; the next one is refused. */
  maxQueue: number;
}

/**
 * The one owner of the waiting requests. Cuts a batch when a worker is free and the batch is full or its first
 * request has waited long enough; a batch mixes streams and operating points.
 */
export class BatchQueue<T extends Queued> {
  #waiting: T[] = [];
  #timer: NodeJS.Timeout | undefined;
  readonly #limits: BatchLimits;
  readonly #workerIsFree: () => boolean;
  readonly #run: (batch: T[]) => void;

  constructor(limits: BatchLimits, workerIsFree: () => boolean, run: (batch: T[]) => void) {
    this.#limits = limits;
    this.#workerIsFree = workerIsFree;
    this.#run = run;
  }

  /** Takes a request, or refuses it: the queue is full. */
  push(request: T): boolean {
    if (this.#waiting.length >= this.#limits.maxQueue) {
      this.#waiting = this.#waiting.filter((waiting) => !waiting.settled);
      if (this.#waiting.length >= this.#limits.maxQueue) return false;
    }
    this.#waiting.push(request);
    this.schedule();
    return true;
  }

  /** To be called when a worker becomes free, too. */
  schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#workerIsFree()) {
      this.#waiting = this.#waiting.filter((waiting) => !waiting.settled);
      const first = this.#waiting[0];
      if (!first) return;
      const wait = first.arrivedAt + this.#limits.maxBatchDelayMs - performance.now();
      if (this.#waiting.length < this.#limits.maxBatch && wait > 0) {
        this.#timer = setTimeout(() => this.schedule(), wait);
        return;
      }
      this.#run(this.#waiting.splice(0, this.#limits.maxBatch));
    }
  }
}
