import { trainCall } from './commands.ts';
import type { Spec } from './spec.ts';
import type { SweepStore, Trained } from './store.ts';
import type { Training, Trial } from './trials.ts';
import { foldersOf, imagesOf, unitsOf, type TrainingPackage } from './unit.ts';

/** What is known of a trial before it runs. */
export interface PlannedTrial {
  id: string;
  name: string;
  state: 'finished' | 'trained' | 'begun' | 'failed' | 'new';
  /** Multiply-accumulates at the edge for one image, of the deepest encoder. */
  edgeMacs: number;
  /** Images that it learns from; null: the spec does not say how many photos there are. */
  images: number | null;
  /** Multiply-accumulates of learning, all images. */
  trainMacs: number | null;
  /** Of learning, estimated; null: no speed is known, or nothing is left to learn. */
  minutes: number | null;
}

export interface SweepPlan {
  trials: PlannedTrial[];
  /** Of all that is left to learn, one after another; null: of some it is not known. */
  minutes: number | null;
  /** Where the speed is from. */
  speed: 'measured' | 'declared' | 'unknown';
}

/** What a sweep would do, and what that costs: multiply-accumulates times images, and minutes by a speed. */
export async function planSweep(
  spec: Spec,
  trials: readonly Trial[],
  store: SweepStore,
  python: TrainingPackage,
): Promise<SweepPlan> {
  const units = unitsOf(trials);
  const costs = await python.costs(
    units.map(({ training }) => trainCall(spec, training, foldersOf(store, training))),
  );
  const costOf = new Map(units.map(({ training }, i) => [training.id, costs[i]!]));
  const measured = measuredSpeed(units.map(({ training }) => store.trained(training)));
  let speed: SweepPlan['speed'] = measured === undefined ? 'unknown' : 'measured';

  const secondsOf = (training: Training): number | null => {
    const images = imagesOf(spec, training);
    if (images === undefined) return null;
    if (measured !== undefined) return (images * costOf.get(training.id)!.trainMacsPerImage) / measured;
    const declared = training.settings.imagesPerSecond;
    if (declared === undefined) return null;
    speed = 'declared';
    return images / declared;
  };
  const open = units.filter(({ training }) => !store.trained(training));
  const seconds = open.map(({ training }) => secondsOf(training));
  return {
    trials: trials.map((trial) => {
      const { training } = trial;
      const cost = costOf.get(training.id)!;
      const images = imagesOf(spec, training) ?? null;
      const left = store.trained(training) ? null : secondsOf(training);
      return {
        id: trial.id,
        name: trial.name,
        state: stateOf(trial, store),
        edgeMacs: cost.edgeMacs.at(-1)!,
        images,
        trainMacs: images === null ? null : images * cost.trainMacsPerImage,
        minutes: left === null ? null : left / 60,
      };
    }),
    minutes: seconds.every((one) => one !== null)
      ? seconds.reduce<number>((sum, one) => sum + one, 0) / 60
      : null,
    speed,
  };
}

/** Multiply-accumulates a second of learning, over what has been trained here. */
function measuredSpeed(trained: readonly (Trained | undefined)[]): number | undefined {
  let [macs, seconds] = [0, 0];
  for (const one of trained) {
    if (!one || one.imagesPerSecond === null) continue;
    macs += one.images * one.trainMacsPerImage;
    seconds += one.images / one.imagesPerSecond;
  }
  return seconds > 0 ? macs / seconds : undefined;
}

function stateOf(trial: Trial, store: SweepStore): PlannedTrial['state'] {
  if (store.results(trial)) return 'finished';
  if (store.failure(trial)) return 'failed';
  if (store.trained(trial.training)) return 'trained';
  return store.begun(trial.training) ? 'begun' : 'new';
}
