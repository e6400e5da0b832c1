import { z } from 'zod';

/** The networks that a trial can train. `light-n4` and its like are `light` with 4 blocks. */
export const MODELS = ['universal', 'paper', 'light', 'entropic-student', 'A', 'B', 'C'] as const;

/** What the universal model's decoder knows of the operating point. */
const CONDITIONS = ['none', 'first', 'film'] as const;

const count = z.int().positive();
const positive = z.number().positive();
const rising = z
  .array(positive)
  .min(1)
  .refine((all) => all.every((value, i) => i === 0 || value > all[i - 1]!), 'bits per pixel, rising');

/** What can be an axis. */
export interface AxisValues {
  model: (typeof MODELS)[number];
  backbone: string;
  blocks: number;
  width: number;
  hidden: number;
  latentChannels: number;
  lambda: number;
  rateTarget: number;
  classifier: 'fixed' | 'joint';
  seed: number;
  precision: 'float32' | 'int8';
  labels: boolean;
  recipe: 'paper' | 'short';
  epochs: number;
  images: number;
  headStart: number;
  size: number;
  batch: number;
  learningRate: number;
  gamma: number;
  reuse: number;
  condition: (typeof CONDITIONS)[number];
  deep: number;
  drop: number;
}

/** Everything that says what a trial is; which of them there are depends on the model. */
export interface Settings extends Partial<AxisValues> {
  stops?: number[];
  rateTargets?: number[];
  warmStart?: boolean;
  imagesPerSecond?: number;
}

export type AxisName = keyof AxisValues;

/** What the value of each is. */
export const axisSettings: { readonly [Name in AxisName]: z.ZodType<AxisValues[Name]> } = {
  model: z.enum(MODELS),
  backbone: z.string().min(1),
  blocks: z.int().min(0).max(64),
  width: count,
  hidden: count,
  latentChannels: count,
  lambda: positive,
  rateTarget: positive.max(9),
  classifier: z.enum(['fixed', 'joint']),
  seed: z.int().min(0),
  precision: z.enum(['float32', 'int8']),
  labels: z.boolean(),
  recipe: z.enum(['paper', 'short']),
  epochs: positive,
  images: count,
  headStart: z.number().min(0).lt(1),
  size: count.multipleOf(32),
  batch: count,
  learningRate: positive,
  gamma: positive.max(1),
  reuse: z.int().min(0),
  condition: z.enum(CONDITIONS),
  deep: z.number().min(0).max(1),
  drop: z.number().min(0).max(1),
};

/** And of those that a group has once. */
export const groupSettings: { readonly [Name in keyof Settings]-?: z.ZodType<NonNullable<Settings[Name]>> } =
  {
    ...axisSettings,
    stops: z.array(z.int().min(0)).min(1),
    rateTargets: rising,
    warmStart: z.boolean(),
    imagesPerSecond: positive,
  };

/** In force where a spec says nothing. */
export const DEFAULTS: Settings = {
  classifier: 'fixed',
  seed: 1,
  precision: 'float32',
  labels: false,
  recipe: 'short',
  headStart: 0.25,
  size: 224,
  batch: 32,
  reuse: 1,
  warmStart: false,
};

/**
 * The settings without those that this model does not have.
 * @returns a sentence about what is missing or does not belong, or the settings
 */
export function completed(given: Settings): Settings | string {
  const all: Settings = { ...DEFAULTS, ...given };
  const { model } = all;
  if (model === undefined) return `model is missing: one of ${MODELS.join(', ')}`;
  if (all.backbone === undefined) return 'backbone is missing: a name from backbones';
  if ((all.epochs === undefined) === (all.images === undefined)) {
    return 'either epochs or images says how long a trial learns';
  }
  const universal = model === 'universal';
  const hasBlocks = model === 'paper' || model === 'light';
  const wrong: (keyof Settings)[] = universal
    ? ['blocks', 'lambda', 'rateTarget', 'recipe']
    : [
        'stops',
        'rateTargets',
        'hidden',
        'condition',
        'deep',
        'drop',
        ...(all.recipe === 'paper' ? (['headStart'] as const) : []),
        ...(hasBlocks ? [] : (['blocks', 'width'] as const)),
      ];
  const extra = wrong.find((name) => given[name] !== undefined);
  if (extra) return `${model} has no ${extra}${extra === 'headStart' ? ' with recipe: paper' : ''}`;
  if (universal && (all.stops === undefined || all.rateTargets === undefined)) {
    return 'universal takes stops and rateTargets: lists, because one network has them all';
  }
  if (hasBlocks && all.blocks === undefined) return `${model} takes blocks: N`;
  if (!universal && (all.lambda === undefined) === (all.rateTarget === undefined)) {
    return `${model} takes either lambda or rateTarget`;
  }
  if (universal && all.warmStart)
    return 'warmStart is along lambda or rateTarget: universal has all its rates at once';
  if (!universal && all.precision === 'int8') return 'int8 encoders are of the universal model alone';
  for (const name of wrong) delete all[name];
  return all;
}
