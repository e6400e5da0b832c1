import type { Unit } from './unit.ts';

/** Runs units where and when it sees fit, each of them once, none before the one that it begins from. */
export type Engine = (units: readonly Unit[], events: EngineEvents) => Promise<void>;

export interface EngineEvents {
  /** What a unit is doing. */
  state(unit: Unit, state: string): void;
  /** It has ended; error: badly. */
  ended(unit: Unit, error?: Error): void;
}

/**
 * On this machine, so many at a time, in their order.
 * @param run throws where the unit fails
 */
export function localEngine(
  run: (unit: Unit, onState: (state: string) => void) => Promise<void>,
  parallel: number,
): Engine {
  return async (units, events) => {
    const left = [...units];
    const open = new Set(units.map(({ training }) => training.id));
    const waiting: (() => void)[] = []; // workers without anything that can begin yet

    async function work(): Promise<void> {
      while (left.length > 0) {
        const at = left.findIndex(({ training }) => !training.after || !open.has(training.after.id));
        if (at < 0) {
          await new Promise<void>((resolve) => void waiting.push(resolve));
          continue;
        }
        const [unit] = left.splice(at, 1) as [Unit];
        try {
          await run(unit, (state) => events.state(unit, state));
          events.ended(unit);
        } catch (error) {
          events.ended(unit, error as Error);
        }
        open.delete(unit.training.id);
        for (const resume of waiting.splice(0)) resume();
      }
    }
    await Promise.all(Array.from({ length: Math.min(parallel, units.length) }, work));
  };
}
