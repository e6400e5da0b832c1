import type { Engine } from './local.ts';
import type { Spec } from './spec.ts';
import type { Unit } from './unit.ts';

/** One task of a Ray cluster, as raccoon_training/ray_engine.py takes it. */
export interface RayTask {
  id: string;
  /** Another task's, which has to end first. */
  after: string | null;
  /** A command line that runs the unit; the program, the spec and the store are at the same paths on every host. */
  command: string[];
  cpus: number;
  gpus: number;
}

/** What ray_engine.py says of one. */
export type RayEvent = { id: string } & (
  { event: 'started'; host: string } | { event: 'ended'; code: number; message: string }
);

/**
 * On a Ray cluster, as many at a time as it has processors and GPUs for.
 * @param submit gives tasks to the cluster and passes on what it says of them, until all have ended
 * @param commandOf what runs one unit
 */
export function rayEngine(
  { threads, gpus }: Spec,
  submit: (tasks: readonly RayTask[], onEvent: (event: RayEvent) => void) => Promise<void>,
  commandOf: (unit: Unit) => string[],
): Engine {
  return async (units, events) => {
    const byId = new Map(units.map((unit) => [unit.training.id, unit]));
    const tasks = units.map((unit): RayTask => {
      const after = unit.training.after?.id;
      return {
        id: unit.training.id,
        after: after !== undefined && byId.has(after) ? after : null,
        command: commandOf(unit),
        cpus: threads,
        gpus,
      };
    });
    await submit(tasks, (event) => {
      const unit = byId.get(event.id)!;
      if (event.event === 'started') events.state(unit, `on ${event.host}`);
      else events.ended(unit, event.code === 0 ? undefined : new Error(event.message));
    });
  };
}
