import type { Engine } from './local.ts';
import type { SweepStore } from './store.ts';
import type { Trial } from './trials.ts';
import { unitsOf } from './unit.ts';

/** How far a sweep is. */
export interface SweepProgress {
  total: number;
  done: number;
  failed: number;
  /** What is being worked on: a training's name and its state. */
  current: string[];
  /** Something that ended just now, in a line. */
  news?: string;
}

export interface SweepOutcome {
  /** Were finished before. */
  kept: number;
  done: number;
  /** One line each. */
  failures: string[];
}

/** Runs what is not finished of a sweep. A trial that fails does not stop the others. */
export async function runSweep(
  trials: readonly Trial[],
  store: SweepStore,
  engine: Engine,
  onProgress: (progress: SweepProgress) => void,
): Promise<SweepOutcome> {
  const release = store.lock();
  try {
    const left = trials.filter((trial) => !store.results(trial));
    const outcome: SweepOutcome = { kept: trials.length - left.length, done: 0, failures: [] };
    const states = new Map<string, string>();
    const tell = (news?: string): void =>
      onProgress({
        total: trials.length,
        done: outcome.kept + outcome.done,
        failed: outcome.failures.length,
        current: [...states.values()],
        ...(news !== undefined && { news }),
      });
    tell();
    await engine(unitsOf(left), {
      state({ training }, state) {
        states.set(training.id, `${training.name}: ${state}`);
        tell();
      },
      ended(unit, error) {
        states.delete(unit.training.id);
        for (const trial of unit.trials) {
          if (store.results(trial)) {
            outcome.done++;
            tell(`${trial.name}: done`);
          } else {
            const line = `${trial.name}: ${store.failure(trial)?.message ?? error?.message ?? 'it left no results'}`;
            outcome.failures.push(line);
            tell(line);
          }
        }
      },
    });
    return outcome;
  } finally {
    release();
  }
}
