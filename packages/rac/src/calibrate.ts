import { basename } from 'node:path';
import type { Bundle, ExitCalibration } from '@raccoon/bundle';
import { openService, type LocalService } from '@raccoon/cloud';
import { accumulate, localAnswer, staysLocal, type Edge } from '@raccoon/edge';
import { openEdge } from '@raccoon/edge/node';
import { pairedDifference, type Difference } from './compare.ts';
import type { PhotoOutcome, Progress } from './evaluate.ts';
import { labelsOf, samplePhotos, type LabelledPhoto } from './photos.ts';
import { PATIENT } from './point-way.ts';
import { mulberry32 } from './random.ts';
import { mean } from './ranking.ts';
import { expectedCalibrationError, fitTemperature, leastShare, wasserstein } from './reliability.ts';
import { loadUnsplit } from './unsplit.ts';

/** What exit and cloud said of one photo. */
export interface TwoAnswers {
  /** `<wnid>/<file name>` */
  photo: string;
  label: number;
  /** (K) */
  exitLogits: Float32Array;
  /** (K) */
  cloudLogits: Float32Array;
  /** Of the bitstream that was sent. */
  bytes: number;
}

/** The cascade at one threshold, on the photos that nothing was chosen on. */
export interface CascadeRow {
  /** D0 */
  threshold: number;
  /** Percent of the photos. */
  sent: number;
  /** Those that are answered locally included. */
  bytesPerImage: number;
  top1: number;
}

/** The cascade over its thresholds. */
export interface Cascade {
  /** Weight of the cloud's logits in the sum with the exit's; none: the cloud's answer stands alone. */
  alpha?: number;
  chosen: CascadeRow;
  /** What is chosen against sending everything, in points. */
  difference: Difference;
  curve: CascadeRow[];
}

/** One encoder's exit, calibrated and reported on other photos. */
export interface CascadeReport {
  point: number;
  calibration: ExitCalibration;
  exitTop1: number;
  always: { top1: number; bytesPerImage: number };
  /** What is sent is answered by the cloud alone, */
  alone: Cascade;
  /** or by the sum of both logits. That needs all of the cloud's on the way back. */
  summed: Cascade;
  /** Between right and wrong answers of the exit. */
  wasserstein: { confidence: number; margin: number };
}

export interface CalibrateOptions {
  /** What to call the photos. */
  dataName: string;
  /** Points of top-1 that the cascade may lose against sending everything. Default 1. */
  maxDrop?: number;
  /** Of the split into halves. */
  seed?: number;
  /** Exit and cloud choose among the classes of the photos only: what the exit knows of them by name is no advantage then. */
  closed?: boolean;
  /** Photos of classes that the exit was not trained on, by path: whether it can be trusted there. */
  outside?: { name: string; paths: readonly string[] } | undefined;
}

const MARGIN_BINS = 10;
/** Photos of the data that tell how often the exit agrees with the unsplit network. */
const AGREEMENT_PHOTOS = 200;
/** Trusted: it may agree by so many points less outside of its classes, with 95 % certainty. */
const AGREEMENT_DROP = 10;
/** Below this percentage no exit is trusted, however little it knows of its own classes. */
const LEAST_AGREEMENT = 25;
const THRESHOLDS: readonly number[] = Array.from({ length: 51 }, (_, i) => i / 50);
const CURVE: readonly number[] = Array.from({ length: 21 }, (_, i) => i / 20);
/** Weights of the cloud's logits that are tried for the sum. */
const ALPHAS: readonly number[] = [0.5, 0.75, 1, 1.25, 1.6, 2, 3, 5, 8];

/**
 * Calibrates the local exits of some operating points' encoders, each on one half of the photos, and reports the cascade of
 * exit and cloud on the other. All in this process and without a socket; bitstreams and answers are the real ones.
 * @throws Error about the photos, or if the bundle has no local exit
 */
export async function calibrateExits(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  points: readonly number[],
  options: CalibrateOptions,
  onProgress: Progress = () => undefined,
): Promise<CascadeReport[]> {
  if (!bundle.manifest.exit) {
    throw new Error(`${bundle.manifest.name} has no local exit: train and export it with this version`);
  }
  const edge = await openEdge(bundle);
  const cloud = await openService({ ...PATIENT, bundle });
  try {
    const reports: CascadeReport[] = [];
    for (const point of points) {
      const done = reports.length * photos.length;
      const asked = await askBoth(edge, cloud, photos, point, (count) =>
        onProgress(done + count, points.length * photos.length),
      );
      const answers = options.closed ? amongOwnClasses(asked) : asked;
      const trust = await trustOf(edge, cloud, photos, point, options);
      reports.push(reportOn(bundle, point, answers, trust, options));
    }
    return reports;
  } finally {
    await edge.close();
    await cloud.close();
  }
}

/** Every photo through encoder, exit, codec and cloud, once. */
async function askBoth(
  edge: Edge,
  cloud: LocalService,
  photos: readonly LabelledPhoto[],
  point: number,
  onProgress: (done: number) => void,
): Promise<TwoAnswers[]> {
  const labels = labelsOf(edge.bundle, photos);
  const answers: TwoAnswers[] = [];
  for (const [i, { path, wnid }] of photos.entries()) {
    const answer = await askOne(edge, cloud, path, point);
    answers.push({ photo: `${wnid}/${basename(path)}`, label: labels[i]!, ...answer });
    onProgress(i + 1);
  }
  return answers;
}

/** The same with the logits of the photos' classes alone, which are numbered anew. */
function amongOwnClasses(answers: readonly TwoAnswers[]): TwoAnswers[] {
  const classes = [...new Set(answers.map(({ label }) => label))].toSorted((a, b) => a - b);
  const own = (logits: Float32Array): Float32Array => Float32Array.from(classes, (k) => logits[k]!);
  return answers.map((answer) => ({
    ...answer,
    label: classes.indexOf(answer.label),
    exitLogits: own(answer.exitLogits),
    cloudLogits: own(answer.cloudLogits),
  }));
}

async function askOne(
  edge: Edge,
  { service }: LocalService,
  path: string,
  point: number,
): Promise<Omit<TwoAnswers, 'photo' | 'label'>> {
  const { slices, bytes, exitLogits } = await edge.encode(path, point, { exit: true });
  const response = await service.infer(
    { id: 1, payload: slices[0]!, topK: 1, wantLogits: true },
    { signal: new AbortController().signal, peer: 'local', caller: { name: 'local' } },
  );
  if (response.error) throw new Error(`${path}: ${response.error.message}`);
  return { exitLogits: exitLogits!, cloudLogits: response.result.logits!, bytes };
}

/** Temperature, D0 and alpha from one half of the answers, everything else from the other. */
export function reportOn(
  { manifest }: Pick<Bundle, 'manifest'>,
  point: number,
  answers: readonly TwoAnswers[],
  trust: Trust,
  { dataName, maxDrop = 1, seed = 1 }: CalibrateOptions,
): CascadeReport {
  const { n, q, precision = 'float32' } = manifest.points[point]!;
  const [calibrated, reported] = halves(answers, seed);
  if (calibrated.length < MARGIN_BINS || reported.length === 0) {
    throw new Error(`${answers.length} photos are too few to calibrate on: ${2 * MARGIN_BINS} at least`);
  }
  const temperature = fitTemperature(
    calibrated.map(({ exitLogits }) => exitLogits),
    calibrated.map(({ label }) => label),
  );
  const chosenOn = calibrated.map((one) => judge(one, temperature));
  const judged = reported.map((one) => judge(one, temperature));
  const raw = reported.map((one) => judge(one, 1));

  const rights = judged.map(({ exitRight }) => exitRight);
  const among = (right: boolean, of: (photo: Judged) => number): number[] =>
    judged.filter(({ exitRight }) => exitRight === right).map(of);
  const cascade = (alphas: readonly (number | undefined)[]): Cascade => {
    const { alpha, threshold } = chooseThreshold(chosenOn, alphas, maxDrop);
    return {
      ...(alpha !== undefined && { alpha }),
      chosen: cascadeRow(judged, threshold, alpha),
      difference: pairedDifference(
        outcomesOf(judged, cloudAlone),
        outcomesOf(judged, (one) => rightAt(one, threshold, alpha)),
      ),
      curve: CURVE.map((d0) => cascadeRow(judged, d0, alpha)),
    };
  };
  const alone = cascade([undefined]);
  const summed = cascade(ALPHAS);
  // An exit that knows some classes only pulls the sum towards them, right or wrong.
  const { chosen, alpha } = trust.trusted && gains(summed, alone) ? summed : alone;
  const always = percentOf(judged, cloudAlone);
  return {
    point,
    calibration: {
      n,
      precision,
      temperature: rounded(temperature, 4),
      ece: {
        before: rounded(
          expectedCalibrationError(
            raw.map(({ confidence }) => confidence),
            rights,
          ),
          4,
        ),
        after: rounded(
          expectedCalibrationError(
            judged.map(({ confidence }) => confidence),
            rights,
          ),
          4,
        ),
      },
      threshold: chosen.threshold,
      ...(alpha !== undefined && { alpha }),
      margins: marginBins(chosenOn),
      ...trust,
      measured: {
        data: dataName,
        calibrated: calibrated.length,
        reported: reported.length,
        q,
        top1: rounded(chosen.top1, 2),
        cloudTop1: rounded(always, 2),
        sent: rounded(chosen.sent, 2),
      },
    },
    exitTop1: percentOf(judged, ({ exitRight }) => exitRight),
    always: { top1: always, bytesPerImage: mean(judged.map(({ bytes }) => bytes)) },
    alone,
    summed,
    wasserstein: {
      confidence: wasserstein(
        among(true, ({ confidence }) => confidence),
        among(false, ({ confidence }) => confidence),
      ),
      margin: wasserstein(
        among(true, ({ margin }) => margin),
        among(false, ({ margin }) => margin),
      ),
    },
  };
}

/** A photo's answers, judged. */
interface Judged {
  photo: string;
  bytes: number;
  confidence: number;
  margin: number;
  exitRight: boolean;
  /** Whether cloud and exit together are right, or with no alpha the cloud alone. */
  cloudRight(alpha: number | undefined): boolean;
}

function judge({ photo, label, exitLogits, cloudLogits, bytes }: TwoAnswers, temperature: number): Judged {
  const { top, confidence, margin } = localAnswer(exitLogits, temperature, 1);
  const cloud = new Map(
    [undefined, ...ALPHAS].map((alpha) => [
      alpha,
      highest(accumulate(exitLogits, cloudLogits, alpha)) === label,
    ]),
  );
  return {
    photo,
    bytes,
    confidence,
    margin,
    exitRight: top[0] === label,
    cloudRight: (alpha) => cloud.get(alpha)!,
  };
}

/** Halves with as many photos of each class in both, nearly. */
function halves(answers: readonly TwoAnswers[], seed: number): [TwoAnswers[], TwoAnswers[]] {
  const random = mulberry32(seed);
  const order = answers
    .map((answer) => ({ answer, draw: random() }))
    .toSorted((a, b) => a.answer.label - b.answer.label || a.draw - b.draw)
    .map(({ answer }) => answer);
  return [order.filter((_, i) => i % 2 === 0), order.filter((_, i) => i % 2 === 1)];
}

/** The threshold and weight that send the fewest bytes and lose at most `maxDrop` points against sending everything. */
function chooseThreshold<Alpha extends number | undefined>(
  photos: readonly Judged[],
  alphas: readonly Alpha[],
  maxDrop: number,
): { threshold: number; alpha: Alpha } {
  const always = percentOf(photos, cloudAlone);
  const choices = alphas.map((alpha) => {
    const enough = (d0: number): boolean => top1Of(photos, d0, alpha) >= always - maxDrop;
    const threshold = THRESHOLDS.find(enough) ?? 1;
    return { alpha, threshold, top1: top1Of(photos, threshold, alpha) };
  });
  return choices.reduce((best, one) =>
    one.threshold < best.threshold || (one.threshold === best.threshold && one.top1 > best.top1) ? one : best,
  );
}

/** The sum needs all logits on the way back: it has to save at least one byte in fifty that go up. */
function gains(summed: Cascade, alone: Cascade): boolean {
  return summed.chosen.bytesPerImage < 0.98 * alone.chosen.bytesPerImage;
}

function cascadeRow(photos: readonly Judged[], threshold: number, alpha: number | undefined): CascadeRow {
  return {
    threshold,
    sent: percentOf(photos, ({ margin }) => !staysLocal(margin, threshold)),
    bytesPerImage: bytesOf(photos, threshold),
    top1: top1Of(photos, threshold, alpha),
  };
}

function outcomesOf(photos: readonly Judged[], right: (photo: Judged) => boolean): PhotoOutcome[] {
  return photos.map((one) => ({ photo: one.photo, right: right(one), bytes: one.bytes }));
}

function rightAt(one: Judged, threshold: number, alpha: number | undefined): boolean {
  return staysLocal(one.margin, threshold) ? one.exitRight : one.cloudRight(alpha);
}

function top1Of(photos: readonly Judged[], threshold: number, alpha: number | undefined): number {
  return percentOf(photos, (one) => rightAt(one, threshold, alpha));
}

function bytesOf(photos: readonly Judged[], threshold: number): number {
  return mean(photos.map(({ margin, bytes }) => (staysLocal(margin, threshold) ? 0 : bytes)));
}

/** Accuracy of exit and cloud by the exit's margin: bins with as many photos each. */
function marginBins(photos: readonly Judged[]): ExitCalibration['margins'] {
  const rising = photos.toSorted((a, b) => a.margin - b.margin);
  const ends = Array.from({ length: MARGIN_BINS + 1 }, (_, k) =>
    Math.round((k * rising.length) / MARGIN_BINS),
  );
  return ends.slice(1).map((end, k) => {
    const members = rising.slice(ends[k], end);
    return {
      margin: k === 0 ? 0 : rounded(members[0]!.margin, 4),
      exitTop1: rounded(
        percentOf(members, ({ exitRight }) => exitRight),
        2,
      ),
      cloudTop1: rounded(percentOf(members, cloudAlone), 2),
    };
  });
}

type Trust = Pick<ExitCalibration, 'trusted' | 'inside' | 'outside'>;

/**
 * Whether the exit may answer on its own: it was trained on photos of some classes, and on others it may know nothing. It is
 * trusted if the photos are of all the bundle's classes; or if on photos of other classes it agrees with the unsplit network
 * nearly as often as on these, for certain. That takes no labels. What the unsplit network finds to be of the same classes
 * does not count as outside.
 */
async function trustOf(
  edge: Edge,
  cloud: LocalService,
  photos: readonly LabelledPhoto[],
  point: number,
  { outside, seed = 1 }: CalibrateOptions,
): Promise<Trust> {
  const { manifest } = edge.bundle;
  const known = new Set(photos.map(({ wnid }) => wnid));
  const everything = manifest.classes.every(({ wnid }) => known.has(wnid));
  if (everything || !outside || !manifest.stem) return { trusted: everything };
  const unsplit = await loadUnsplit(edge.bundle);

  async function agreement(
    data: string,
    paths: readonly string[],
    counts: (wnid: string) => boolean,
  ): Promise<NonNullable<Trust['inside']>> {
    const asExit: boolean[] = [];
    const asCloud: boolean[] = [];
    for (const path of paths) {
      const truth = highest(await unsplit.classify(path));
      if (!counts(manifest.classes[truth]!.wnid)) continue;
      const { exitLogits, cloudLogits } = await askOne(edge, cloud, path, point);
      asExit.push(highest(exitLogits) === truth);
      asCloud.push(highest(cloudLogits) === truth);
    }
    if (asExit.length === 0)
      throw new Error(`${data}: no photo there is of another class than those of --data`);
    return { data, images: asExit.length, exit: shareOf(asExit), cloud: shareOf(asCloud) };
  }

  try {
    const some = samplePhotos(photos, AGREEMENT_PHOTOS, seed).map(({ path }) => path);
    const inside = await agreement('photos of the same classes', some, () => true);
    const other = await agreement(outside.name, outside.paths, (wnid) => !known.has(wnid));
    const least = leastShare((other.exit * other.images) / 100, other.images);
    const enough = Math.max(inside.exit - AGREEMENT_DROP, LEAST_AGREEMENT);
    return { trusted: least >= enough, inside, outside: other };
  } finally {
    await unsplit.release();
  }
}

/** Index of the highest, the first of equal ones. */
function highest(logits: Float32Array): number {
  let best = 0;
  for (let k = 1; k < logits.length; k++) if (logits[k]! > logits[best]!) best = k;
  return best;
}

const cloudAlone = (one: Judged): boolean => one.cloudRight(undefined);

function percentOf<T>(items: readonly T[], holds: (item: T) => boolean): number {
  return (100 * items.filter(holds).length) / items.length;
}

const shareOf = (answers: readonly boolean[]): number => rounded(percentOf(answers, Boolean), 2);

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));
