import { basename } from 'node:path';
import type { Bundle, Precision } from '@raccoon/bundle';
import { startCloud } from '@raccoon/cloud';
import type { ImageInput } from '@raccoon/edge';
import { shareInterval } from './interval.ts';
import { peakMemory, resetPeakMemory } from './peak-memory.ts';
import { labelsOf, type LabelledPhoto } from './photos.ts';
import { openPointWay, PATIENT, type ByteSplit } from './point-way.ts';
import { addNoise } from './noise.ts';
import type { PowerMeter } from './power.ts';
import { mean, quantile } from './ranking.ts';

/** What leaves the edge of one photo. */
export interface Sent {
  bytes: number;
  /** From pixels at the network's size to these bytes, ms. */
  encodeMs: number;
  /** Of this, rounding and entropy coding; null where they are not apart. */
  entropyMs: number | null;
  /** The first class of the local exit, when it was asked for. */
  exitClass?: number;
}

/** What comes back. */
export interface Answer {
  /** Five classes, most probable first. */
  top: readonly number[];
  /** Decoding and inference, ms. */
  cloudMs: number;
}

/** One way of a photo from the edge to its classes. */
export interface Way<S extends Sent = Sent> {
  /** Multiply-accumulates at the edge for one image. */
  readonly edgeMacs: number;
  readonly edgeParameters: number;
  /** Photos on their way at any time, at most. */
  readonly inFlight: number;
  /** The edge. */
  encode(photo: ImageInput): Promise<S>;
  /** The cloud. */
  answer(sent: S): Promise<Answer>;
  /** All is warm: what is counted on the wire counts from here. */
  begin?(): void;
  /** Bytes of TCP payload from edge to cloud since then, mean per photo; absent: no socket. */
  wireBytes?(): number;
  close(): Promise<void>;
}

/** What was measured of one way; accuracies in percent, times in ms. */
export interface Evaluation {
  images: number;
  top1: number;
  /** 95 %, by a bootstrap over the photos. */
  top1Interval: [low: number, high: number];
  top5: number;
  /** Of the local exit alone; when it was asked for. */
  exitTop1?: number;
  /** Mean bits of bitstream per pixel of the network's input. */
  payloadBpp: number;
  /** The same with everything that TCP carried from the edge to the cloud; null: no socket. */
  wireBpp: number | null;
  bytesPerImage: number;
  /** From pixels at the network's size to the bytes. */
  encodeMs: { p50: number; p95: number };
  /** Rounding and entropy coding at the edge, mean; null where they are not apart. */
  entropyMs: number | null;
  /** Queue, decoding and inference in the cloud, mean. */
  cloudMs: number;
  /** Multiply-accumulates at the edge for one image. */
  edgeMacs: number;
  edgeParameters: number;
  /** The most resident memory of this process while only the edge's part was done. */
  peakMemoryMiB: number;
  /** Of the edge for one image, its photo's decoding included; null: no counter, and no watts to work it out. */
  energyMillijoule: { value: number; source: 'measured' | 'modelled' } | null;
  /** What became of every photo, in their order. */
  photos: PhotoOutcome[];
}

/** One photo's part of an evaluation, for comparisons on the same photos. */
export interface PhotoOutcome {
  /** `<wnid>/<file name>` */
  photo: string;
  /** Whether the first class is the label. */
  right: boolean;
  /** Bytes of the bitstream, or whatever was sent. */
  bytes: number;
}

export type Progress = (done: number, total: number) => void;

/** Photos that the edge encodes with nothing else going on, for its memory and energy. */
const ALONE = 50;

export interface EvaluateOptions {
  /** Called with 0 when all is warm, then after each photo. */
  onProgress?: Progress;
  meter?: PowerMeter | undefined;
  /** Standard deviation of the noise that is added to photos, on values from 0 to 1; default: none. See `addNoise`. */
  noise?: number | undefined;
}

/**
 * Measures one way on labelled photos: first the edge alone, then all of it.
 * @throws Error about the photos (an unknown wnid, one that cannot be read)
 */
export async function evaluateWay<S extends Sent>(
  bundle: Bundle,
  way: Way<S>,
  photos: readonly LabelledPhoto[],
  { onProgress = () => undefined, meter, noise = 0 }: EvaluateOptions = {},
): Promise<Evaluation> {
  const labels = labelsOf(bundle, photos);
  const { input } = bundle.manifest;
  const seen = async (photo: LabelledPhoto): Promise<ImageInput> =>
    noise > 0 ? addNoise(photo, input, noise) : photo.path;
  const alone = await measureEdge(way, await Promise.all(photos.slice(0, ALONE).map(seen)), meter);
  await way.answer(await way.encode(await seen(photos[0]!))); // warms the cloud up
  way.begin?.();
  onProgress(0, photos.length);

  const sent: Sent[] = [];
  const answers: Answer[] = [];
  let done = 0;
  const underWay = new Set<Promise<void>>();
  for (const [index, photo] of photos.entries()) {
    const encoded = await way.encode(await seen(photo));
    const { bytes, encodeMs, entropyMs, exitClass } = encoded; // and not what else it holds
    sent.push({ bytes, encodeMs, entropyMs, ...(exitClass !== undefined && { exitClass }) });
    const answered = way.answer(encoded).then((answer) => {
      answers[index] = answer;
      underWay.delete(answered);
      onProgress(++done, photos.length);
    });
    underWay.add(answered);
    answered.catch(() => undefined); // also when another photo failed first and nobody waits for this one
    if (underWay.size >= way.inFlight) await Promise.race(underWay);
  }
  await Promise.all(underWay);

  const outcomes = photos.map(({ path, wnid }, i) => ({
    photo: `${wnid}/${basename(path)}`,
    right: answers[i]!.top[0] === labels[i],
    bytes: sent[i]!.bytes,
  }));
  const percentOf = (hits: number): number => (100 * hits) / photos.length;
  const right = outcomes.filter((outcome) => outcome.right).length;
  const bppOf = (bytes: number): number => (8 * bytes) / (input.width * input.height);
  const bytesPerImage = mean(sent.map(({ bytes }) => bytes));
  const encodeMs = sent.map((one) => one.encodeMs);
  const entropyMs = sent.map((one) => one.entropyMs).filter((one) => one !== null);
  return {
    images: photos.length,
    top1: percentOf(right),
    top1Interval: shareInterval(right, photos.length),
    top5: percentOf(answers.filter(({ top }, i) => top.includes(labels[i]!)).length),
    ...(sent[0]!.exitClass !== undefined && {
      exitTop1: percentOf(sent.filter(({ exitClass }, i) => exitClass === labels[i]).length),
    }),
    payloadBpp: bppOf(bytesPerImage),
    wireBpp: way.wireBytes ? bppOf(way.wireBytes()) : null,
    bytesPerImage,
    encodeMs: { p50: quantile(encodeMs, 0.5), p95: quantile(encodeMs, 0.95) },
    entropyMs: entropyMs.length > 0 ? mean(entropyMs) : null,
    cloudMs: mean(answers.map(({ cloudMs }) => cloudMs)),
    edgeMacs: way.edgeMacs,
    edgeParameters: way.edgeParameters,
    ...alone,
    photos: outcomes,
  };
}

async function measureEdge(
  way: Way,
  photos: readonly ImageInput[],
  meter: PowerMeter | undefined,
): Promise<Pick<Evaluation, 'peakMemoryMiB' | 'energyMillijoule'>> {
  resetPeakMemory();
  await way.encode(photos[0]!); // loads what it needs
  meter?.start();
  for (const photo of photos) await way.encode(photo);
  const joules = meter?.joules();
  return {
    peakMemoryMiB: peakMemory() / 2 ** 20,
    energyMillijoule:
      meter && joules !== undefined ? { value: (1000 * joules) / photos.length, source: meter.source } : null,
  };
}

export interface PointEvaluation extends Evaluation {
  point: number;
  n: number;
  q: number;
  precision: Precision;
  bytes: ByteSplit;
}

export interface PointOptions {
  /** Measure the local exit as well. Then its time is part of `encodeMs`. */
  exit?: boolean;
  /** `host:port` of a cloud that serves the bundle; default: one of its own, on this machine. */
  cloud?: string;
}

/**
 * Measures operating points of a bundle on labelled photos, in this process: edge -> gRPC -> cloud, the way that users' images
 * take. Photos are classified 1,000-way or however many classes the bundle has.
 * @throws Error about the photos (an unknown wnid, one that cannot be read)
 */
export async function evaluatePoints(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  points: readonly number[],
  onProgress: Progress = () => undefined,
  { exit = false, cloud }: PointOptions = {},
): Promise<PointEvaluation[]> {
  labelsOf(bundle, photos); // or says now what is wrong with them
  const own =
    cloud === undefined ? await startCloud({ ...PATIENT, bundle, listen: '127.0.0.1:0' }) : undefined;
  try {
    const rows: PointEvaluation[] = [];
    for (const point of points) {
      const { n, q, precision = 'float32' } = bundle.manifest.points[point]!;
      const way = await openPointWay(bundle, point, { cloud: cloud ?? own!.address, exit });
      const progress: Progress = (done) =>
        onProgress(rows.length * photos.length + done, points.length * photos.length);
      try {
        const evaluation = await evaluateWay(bundle, way, photos, { onProgress: progress });
        rows.push({ point, n, q, precision, ...evaluation, bytes: way.split() });
      } finally {
        await way.close();
      }
    }
    return rows;
  } finally {
    await own?.close();
  }
}
