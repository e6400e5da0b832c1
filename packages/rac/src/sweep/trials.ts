import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { completed, type Settings } from './settings.ts';
import { combinations, contentHash, fileHash, type Group, type Spec } from './spec.ts';

/** What is measured: one training in one precision. */
export interface Trial {
  /** From everything that its results depend on. */
  id: string;
  /** For people: `light-n4 rateTarget=0.3 seed=1`. */
  name: string;
  settings: Settings;
  precision: 'float32' | 'int8';
  training: Training;
}

/** What is trained: trials that differ in what comes afterwards share it. */
export interface Training {
  id: string;
  name: string;
  /** Its rows are one rate-accuracy curve with those of the same name. */
  series: string;
  settings: Settings;
  /** Whose weights it begins with. */
  after?: Training | undefined;
}

/** Not a part of what a result is. */
const ASIDE: ReadonlySet<string> = new Set(['imagesPerSecond', 'warmStart']);

/**
 * All trials of a spec, those of the first seed first: so every curve is there, before the next seed begins. A trial that
 * stands in two groups is one.
 * @throws Error about weights, classes or data that cannot be read
 */
export function trialsOf(spec: Spec): Trial[] {
  const content = contentOf(spec);
  const trials = new Map<string, Trial>();
  const varied = variedSettings(spec.groups.flatMap((group) => combinations(group).map(settled)));
  const groups = spec.groups.map((group) => groupTrials(group, content, varied));
  const seeds = [...new Set(groups.flat().map(({ settings }) => settings.seed!))];
  for (const seed of seeds) {
    for (const trial of groups.flat()) {
      if (trial.settings.seed === seed && !trials.has(trial.id)) trials.set(trial.id, trial);
    }
  }
  return [...trials.values()];
}

interface Content {
  train: unknown;
  evaluate: unknown;
  backbones: Record<string, unknown>;
}

function contentOf({ data, backbones }: Spec): Content {
  return {
    train: { files: listing(data.train), photos: data.photos },
    evaluate: { name: data.name, files: listing(data.evaluate), images: data.images, seed: data.seed },
    backbones: Object.fromEntries(
      Object.entries(backbones).map(([name, { weights, depth, classes }]) => [
        name,
        {
          weights: weights === undefined ? depth : hashOf(name, 'weights', weights),
          classes: hashOf(name, 'classes', classes),
        },
      ]),
    ),
  };
}

function hashOf(backbone: string, setting: string, path: string): string {
  try {
    return fileHash(path);
  } catch (cause) {
    throw new Error(
      `backbones.${backbone}.${setting}: ${path} cannot be read: paths begin at the spec's folder`,
      { cause },
    );
  }
}

/** Names and sizes of a folder's shards, or the names of its folders: what tells one data set from another at once. */
function listing(folder: string): string[] {
  let entries;
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (cause) {
    throw new Error(`there is no folder ${folder}: data.train and data.evaluate are folders of photos`, {
      cause,
    });
  }
  const shards = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.tar'));
  const kept = shards.length > 0 ? shards : entries.filter((entry) => entry.isDirectory());
  return [
    basename(folder),
    ...kept
      .map(({ name }) => (shards.length > 0 ? `${name} ${statSync(join(folder, name)).size}` : name))
      .toSorted(),
  ];
}

/** `parseSpec` has found that they can be completed. */
const settled = (given: Settings): Settings => completed(given) as Settings;

function groupTrials(
  group: Group,
  content: Content,
  varied: ReadonlyMap<string, ReadonlySet<string>>,
): Trial[] {
  const axis = group.axes.find(([name]) => name === 'lambda' || name === 'rateTarget')?.[0];
  const before = new Map<string, Training>(); // the neighbour on the rate axis, with everything else the same
  return combinations(group).map((given) => {
    const { precision = 'float32', ...settings } = settled(given);
    const after = settings.warmStart
      ? before.get(contentHash({ ...settings, [axis!]: null }, 16))
      : undefined;
    const training = trainingOf(settings, seriesOf(settings, varied), content, after);
    if (settings.warmStart) before.set(contentHash({ ...settings, [axis!]: null }, 16), training);
    const id = contentHash({ training: training.id, precision, evaluate: content.evaluate }, 16);
    const name = precision === 'int8' ? `${training.name} int8` : training.name;
    return { id, name, settings: { ...settings, precision }, precision, training };
  });
}

function trainingOf(
  settings: Settings,
  series: string,
  content: Content,
  after: Training | undefined,
): Training {
  const matters = Object.fromEntries(Object.entries(settings).filter(([name]) => !ASIDE.has(name)));
  const id = contentHash(
    { ...matters, train: content.train, backbone: content.backbones[settings.backbone!], after: after?.id },
    16,
  );
  const name = [series, rateOf(settings), `seed=${settings.seed}`].filter((part) => part !== '').join(' ');
  return { id, name, series, settings, after };
}

/** What people call the model: `raccoon`, `light-n4`, `entropic-student`; results have it as their method. */
export function methodOf({ model, blocks }: Settings): string {
  if (model === 'universal') return 'raccoon';
  return blocks === undefined ? model! : `${model}-n${blocks}`;
}

/** Never in a series' name: it says them in its own way, or they are what is different within it. */
const UNTOLD: ReadonlySet<string> = new Set([
  'model',
  'blocks',
  'lambda',
  'rateTarget',
  'seed',
  'precision',
  'classifier',
  'imagesPerSecond',
]);

/** The settings that have several values among all trials of a model. */
function variedSettings(all: readonly Settings[]): Map<string, Set<string>> {
  const varied = new Map<string, Set<string>>();
  for (const model of new Set(all.map((settings) => settings.model!))) {
    const own = all.filter((settings) => settings.model === model);
    const names = new Set(own.flatMap((settings) => Object.keys(settings))) as Set<keyof Settings>;
    const several = [...names].filter(
      (name) => !UNTOLD.has(name) && new Set(own.map((one) => contentHash(one[name], 16))).size > 1,
    );
    varied.set(model, new Set(several));
  }
  return varied;
}

/** The model with whatever the spec varies of it and this one has set: everything but rate and seed. */
function seriesOf(settings: Settings, varied: ReadonlyMap<string, ReadonlySet<string>>): string {
  return [
    methodOf(settings),
    ...(settings.classifier === 'joint' ? ['joint'] : []),
    ...[...varied.get(settings.model!)!].flatMap((name) => {
      const value = settings[name as keyof Settings];
      return value === undefined ? [] : [`${name}=${String(value)}`];
    }),
  ].join(' ');
}

/** Which rate: what is different within a series. */
export function rateOf({ lambda, rateTarget }: Settings): string {
  if (lambda !== undefined) return `lambda=${lambda}`;
  return rateTarget === undefined ? '' : `target=${rateTarget}`;
}
