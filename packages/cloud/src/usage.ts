/** What lies so far back counts 1/e, ms. */
const MEMORY_MS = 5000;

/** How much of the time several workers have worked, of late. */
export class Usage {
  #ms = 0;
  #at = 0;

  /** A worker has worked for `ms`, until `now`. */
  add(now: number, ms: number): void {
    this.#ms = this.#left(now) + ms;
    this.#at = now;
  }

  /** Share of the time of all of them, 0 to 1. */
  share(now: number, workers: number): number {
    return workers === 0 ? 0 : Math.min(1, this.#left(now) / MEMORY_MS / workers);
  }

  #left(now: number): number {
    return this.#ms * Math.exp((this.#at - now) / MEMORY_MS);
  }
}
