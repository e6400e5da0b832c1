import { InvalidArgumentError, Option } from 'commander';

/** The bundle that ships. */
export const DEFAULT_BUNDLE = 'imagenet1k-mobilenet';

/** A whole number from `min` on. */
export function whole(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < min) {
      throw new InvalidArgumentError(`it must be a whole number of at least ${min}.`);
    }
    return value;
  };
}

export const bundleOption = (): Option =>
  new Option(
    '-b, --bundle <name or path>',
    'the model: a name in bundles/ or the cache, or a folder',
  ).default(DEFAULT_BUNDLE);

export const blocksOption = (): Option =>
  new Option('-n, --blocks <n>', 'residual blocks of the encoder: more cost more and see more').argParser(
    whole(0),
  );

export const rateOption = (): Option =>
  new Option('-q, --rate <q>', 'rate level, 0 = fewest bits').argParser(whole(0));

export const precisionOption = (): Option =>
  new Option('--precision <arithmetic>', 'of the encoder').choices(['float32', 'int8']);

export const dataOption = (): Option =>
  new Option(
    '-d, --data <folder>',
    'ImageFolder: one folder of photos per class, named by its wnid',
  ).makeOptionMandatory();

export const dataNameOption = (): Option =>
  new Option('--data-name <name>', 'what to call the photos').default('imagenet20 val');

export const jsonOption = (): Option => new Option('--json', 'for programs: JSON on stdout');

/** What both options ask for. */
export interface PointOptions {
  blocks?: number;
  rate?: number;
}
