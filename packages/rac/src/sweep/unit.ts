import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { measureRows } from '../measure.ts';
import { labelOf, type Method } from '../methods.ts';
import { listImageFolder, samplePhotos, type LabelledPhoto } from '../photos.ts';
import { emptyResults } from '../results-store.ts';
import type { ResultRow, ResultsFile } from '../results.ts';
import { bundleCall, trainCall, type Call, type TrainingFolders } from './commands.ts';
import type { Spec } from './spec.ts';
import type { SweepStore, Trained } from './store.ts';
import { methodOf, rateOf, type Training, type Trial } from './trials.ts';

/** The training package, as this package sees it. */
export interface TrainingPackage {
  /**
   * Runs a command of it, with what it says in `log`.
   * @param onState a word and a share, such as `train 45 %`
   * @throws Error, its last line
   */
  call(call: Call, log: string, onState: (state: string) => void): Promise<void>;
  /** What trainings cost, in their order. */
  costs(calls: readonly Call[]): Promise<Omit<Trained, 'images' | 'imagesPerSecond'>[]>;
}

/** What one process does from beginning to end: a training, and the trials that it is for. */
export interface Unit {
  training: Training;
  trials: Trial[];
}

/** Trials by their training, in their order. */
export function unitsOf(trials: readonly Trial[]): Unit[] {
  const units = new Map<string, Unit>();
  for (const trial of trials) {
    const unit = units.get(trial.training.id);
    if (unit) unit.trials.push(trial);
    else units.set(trial.training.id, { training: trial.training, trials: [trial] });
  }
  return [...units.values()];
}

export interface UnitContext {
  spec: Spec;
  store: SweepStore;
  python: TrainingPackage;
  /** That the results name as what made them. */
  command: string;
}

/**
 * Trains what is not trained, makes the bundle, measures those trials that have no results. What was done before, by
 * whomever, is not done again.
 * @param onState what it is doing
 * @throws Error after it has been written down for the trials that it concerns
 */
export async function runUnit(
  context: UnitContext,
  { training, trials }: Unit,
  onState: (state: string) => void,
): Promise<void> {
  const { store } = context;
  let step = 'train';
  const enter = (now: string): void => {
    step = now.split(' ')[0]!;
    onState(now);
  };
  const left = trials.filter((trial) => !store.results(trial));
  try {
    for (const trial of left) store.describe(trial);
    if (left.length === 0) return;
    await train(context, training, enter);
    const bundle = await makeBundle(context, training, left, enter);
    for (const trial of left) await measure(context, trial, bundle, enter);
  } catch (error) {
    const failure = { step, message: (error as Error).message };
    for (const trial of left) if (!store.results(trial)) store.setFailure(trial, failure);
    throw new Error(`${training.name}: ${step}: ${failure.message}`, { cause: error });
  }
}

export function foldersOf(store: SweepStore, training: Training): TrainingFolders {
  const folder = store.runFolder(training);
  const { settings } = training;
  return {
    run: join(folder, 'run'),
    // every trial's cloud runs the same network, and is called by it
    bundle: join(folder, 'bundle', `${settings.backbone}-${settings.size}`),
    before: training.after && join(store.runFolder(training.after), 'run'),
  };
}

/** Images that a training sees: whole batches alone. */
export function imagesOf(
  { data }: Spec,
  { settings }: Training,
  photos: number | undefined = data.photos,
): number | undefined {
  if (settings.images !== undefined) return settings.images;
  return photos === undefined ? undefined : Math.round(settings.epochs! * photos);
}

async function train(
  context: UnitContext,
  training: Training,
  onState: (state: string) => void,
): Promise<void> {
  const { spec, store, python } = context;
  if (store.trained(training)) return;
  if (training.after && !store.trained(training.after)) {
    throw new Error(`it begins with the weights of ${training.after.name}, which did not end well`);
  }
  const call = trainCall(spec, training, foldersOf(store, training));
  const [costs] = await python.costs([call]);
  const fresh = !store.begun(training);
  const start = performance.now();
  onState('train');
  await python.call(call, join(store.runFolder(training), 'log.txt'), onState);
  const images = imagesOf(spec, training) ?? 0;
  const seconds = (performance.now() - start) / 1000;
  store.setTrained(training, {
    ...costs!,
    images,
    imagesPerSecond: fresh && images > 0 ? images / seconds : null,
  });
}

async function makeBundle(
  context: UnitContext,
  training: Training,
  trials: readonly Trial[],
  onState: (state: string) => void,
): Promise<Bundle> {
  const { spec, store, python } = context;
  const folders = foldersOf(store, training);
  const int8 = trials.some(({ precision }) => precision === 'int8');
  if (existsSync(join(folders.bundle, 'manifest.json'))) {
    const bundle = await openBundle(folders.bundle);
    if (!int8 || bundle.manifest.points.some(({ precision }) => precision === 'int8')) return bundle;
  }
  mkdirSync(join(folders.bundle, '..'), { recursive: true });
  onState('bundle');
  await python.call(
    bundleCall(spec, training, folders, int8),
    join(store.runFolder(training), 'log.txt'),
    () => undefined,
  );
  return openBundle(folders.bundle);
}

async function measure(
  { spec, store, command }: UnitContext,
  trial: Trial,
  bundle: Bundle,
  onState: (state: string) => void,
): Promise<void> {
  const { data, threads } = spec;
  const { training, precision, settings } = trial;
  const all = await photosOf(spec, store);
  const photos = samplePhotos(all, data.images ?? all.length, data.seed);
  const seed = photos.length < all.length ? data.seed : null;
  const path = foldersOf(store, training).bundle;
  const empty = (): ResultsFile =>
    emptyResults({ command, manifest: bundle.manifest, photos, dataName: data.name, seed, threads });
  const onProgress = (done: number, total: number): void =>
    onState(`measure ${Math.floor((100 * done) / total)} %`);
  const options = { jobs: 1, threads: Math.min(threads, availableParallelism()), onProgress };
  const rowsOf = async (methods: readonly Method[]): Promise<ResultRow[]> => {
    const rows: ResultRow[] = [];
    await measureRows(path, photos, methods, options, (row, index) => {
      rows[index] = { ...labelOf(bundle.manifest, methods[index]!), ...row };
    });
    return rows;
  };

  onState('measure');
  const points = bundle.manifest.points.flatMap((point, p) =>
    (point.precision ?? 'float32') === precision ? [p] : [],
  );
  const rows = await rowsOf(points.map((point): Method => ({ kind: 'point', point })));
  const { images, trainMacsPerImage } = store.trained(training)!;
  const told = {
    model: methodOf(settings),
    classifier: settings.classifier!,
    seed: settings.seed!,
    ...(settings.lambda !== undefined && { lambda: settings.lambda }),
    ...(settings.rateTarget !== undefined && { rateTarget: settings.rateTarget }),
    trainImages: images,
    trainMacs: images * trainMacsPerImage,
  };
  const universal = settings.model === 'universal';
  store.setResults(trial, {
    ...empty(),
    rows: rows.map(({ settings: { n, q }, ...row }) => ({
      ...row,
      method: methodOf(settings),
      series: `${training.series}${universal ? ` n=${n}` : ''}${precision === 'int8' ? ' int8' : ''}`,
      point: `${universal ? `q=${q}` : rateOf(settings)} seed=${settings.seed}`,
      settings: { ...(universal && { n: n!, q: q! }), precision, ...told },
    })),
  });
  if (bundle.manifest.stem) {
    await store.unsplit({ bundle: bundle.manifest.name, data: empty().data }, async () => ({
      ...empty(),
      rows: await rowsOf([{ kind: 'unsplit' }]),
    }));
  }
}

/** The photos to measure on; shards are unpacked once. */
async function photosOf({ data }: Spec, { photos }: SweepStore): Promise<LabelledPhoto[]> {
  const shards = readdirSync(data.evaluate).filter((name) => /^val-.*\.tar$/.test(name));
  if (shards.length === 0) return listImageFolder(data.evaluate);
  if (!existsSync(join(photos, 'val'))) {
    const unfinished = `${photos}.${process.pid}.new`;
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { recursive: true });
    for (const shard of shards)
      await promisify(execFile)('tar', ['-xf', join(data.evaluate, shard), '-C', unfinished]);
    rmSync(photos, { recursive: true, force: true });
    renameSync(unfinished, photos);
  }
  return listImageFolder(join(photos, 'val'));
}
