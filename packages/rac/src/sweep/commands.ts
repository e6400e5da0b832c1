import type { Backbone, Spec } from './spec.ts';
import type { Training } from './trials.ts';
import { methodOf } from './trials.ts';

/** A command of the training package with its options. */
export type Call = [command: string, options: string[]];

/** Where a training and what comes of it are kept. */
export interface TrainingFolders {
  /** Checkpoint and logs. */
  run: string;
  bundle: string;
  /** Of the training whose weights it begins with. */
  before?: string | undefined;
}

/** Trains, or goes on training: the same command resumes. */
export function trainCall(spec: Spec, { settings }: Training, folders: TrainingFolders): Call {
  const { weights, depth, classes } = backboneOf(spec, settings.backbone!);
  const { data } = spec;
  const epochs = settings.epochs ?? settings.images! / data.photos!;
  const common = {
    data: data.train,
    weights,
    run: folders.run,
    batch: settings.batch,
    size: settings.size,
    lr: settings.learningRate,
    gamma: settings.gamma,
    limit: data.photos,
    seed: settings.seed,
    threads: spec.threads,
    device: spec.device,
    'latent-channels': settings.latentChannels,
  };
  if (settings.model === 'universal') {
    return [
      'train',
      options({
        ...common,
        ...(settings.labels && { classes }),
        stops: settings.stops,
        'rate-targets': settings.rateTargets,
        'head-start': epochs * settings.headStart!,
        epochs: epochs * (1 - settings.headStart!),
        reuse: Math.max(1, settings.reuse!),
        'encoder-width': settings.width,
        'encoder-hidden': settings.hidden,
        condition: settings.condition,
        deep: settings.deep,
        drop: settings.drop,
        joint: settings.classifier === 'joint',
      }),
    ];
  }
  const short = settings.recipe === 'short';
  return [
    'train-paper',
    options({
      ...common,
      depth,
      model: methodOf(settings),
      lambda: settings.lambda,
      'rate-target': settings.rateTarget,
      width: settings.width,
      'classifier-fixed': settings.classifier === 'fixed',
      'label-free': !settings.labels,
      ...(settings.labels && { classes }),
      epochs,
      short,
      // on the features of an unsplit network; and what has learned already needs none
      'head-start': short ? (weights === undefined || folders.before ? 0 : settings.headStart) : undefined,
      clip: short ? 1 : undefined, // as the universal model's
      reuse: weights === undefined ? 0 : settings.reuse,
      from: folders.before,
    }),
  ];
}

/** Makes a bundle of the training. Its latent space is called by the training: the same one gives the same codec. */
export function bundleCall(
  spec: Spec,
  { settings, id }: Training,
  { run, bundle }: TrainingFolders,
  int8: boolean,
): Call {
  const { weights, classes, licence } = backboneOf(spec, settings.backbone!);
  const common = {
    data: spec.data.train,
    'rate-photos': spec.data.ratePhotos,
    classes,
    out: bundle,
    'latent-space-id': id.repeat(2),
  };
  if (settings.model === 'universal')
    return ['export', options({ ...common, run, weights, [int8 ? 'int8' : 'no-int8']: true })];
  return [
    'import',
    options({
      ...common,
      checkpoint: `${run}/last.pt`,
      licence,
      stem: settings.classifier === 'fixed' ? weights : undefined,
    }),
  ];
}

function backboneOf(spec: Spec, name: string): Backbone {
  return spec.backbones[name]!; // `parseSpec` has looked
}

/** As one types them: what is undefined or false is left out, true is a flag. */
function options(
  values: Record<string, string | number | boolean | readonly number[] | undefined>,
): string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    if (value === undefined || value === false) return [];
    if (value === true) return [`--${name}`];
    return [`--${name}`, ...(Array.isArray(value) ? value.map(String) : [String(value)])];
  });
}
