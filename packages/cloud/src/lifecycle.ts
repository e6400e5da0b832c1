/** From start to end; never back. */
export type Phase = 'starting' | 'serving' | 'draining' | 'ended';

export interface LifecycleParts {
  /** Models that are served; none: nothing can be answered. */
  bundles(): readonly string[];
  workersAlive(): number;
  /** Why the server that runs the networks cannot be asked, if there is one and it cannot. */
  backendTrouble(): string | undefined;
  /** Called at every change: which bundles there are, and whether they are served. */
  report(bundles: readonly string[], serving: boolean): void;
}

/** What phase the service is in, and what it may say of itself: that it is ready when, and only when, it is. */
export class Lifecycle {
  readonly #parts: LifecycleParts;
  #phase: Phase = 'starting';

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
  }

  get phase(): Phase {
    return this.#phase;
  }

  enter(phase: Phase): void {
    this.#phase = phase;
    this.refresh();
  }

  /** Undefined when requests are served; else why not. */
  notReady(): string | undefined {
    if (this.#phase !== 'serving') return this.#phase;
    if (this.#parts.bundles().length === 0) return 'no bundle is loaded';
    if (this.#parts.workersAlive() === 0) return 'no worker lives';
    return this.#parts.backendTrouble();
  }

  /** To be called when workers or bundles have changed. */
  refresh(): void {
    this.#parts.report(this.#parts.bundles(), this.notReady() === undefined);
  }
}

/** A service that signals end. */
export interface Endable {
  /** Drains; resolves when everything is closed. A second call waits for the first. */
  close(graceMs: number): Promise<void>;
  /** Drops everything at once. */
  kill(): void;
}

const SIGNALS = { SIGTERM: 15, SIGINT: 2 } as const;

/**
 * The first SIGTERM or SIGINT drains, and the process then ends by itself, with code 0; after `drainMs` whatever is left
 * is dropped. The second ends it at once, with 128 + the signal's number.
 * @param onDrain called at the first
 */
export function endOnSignals(service: Endable, drainMs: number, onDrain: () => void): void {
  let draining = false;
  const end = (code: number): void => {
    service.kill();
    process.exit(code); // the networks run in other processes: nothing of theirs can abort this one
  };
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      if (draining) end(128 + number);
      draining = true;
      onDrain();
      service.close(drainMs).catch(() => end(1));
      setTimeout(() => end(0), drainMs).unref();
    });
  }
}
