import { basename } from 'node:path';
import { stemOf, type Bundle, type Precision } from '@raccoon/bundle';
import { connect, type Classification, type Client } from '@raccoon/client';
import { startCloud } from '@raccoon/cloud';
import { estimateBits, flushBytes, HEADER_BYTES } from '@raccoon/codec';
import type { ImageInput } from '@raccoon/edge';
import { readPixels } from '@raccoon/edge/node';
import { encodeJpeg } from './jpeg.ts';
import { labelsOf, type LabelledPhoto } from './photos.ts';
import { mean, quantile, topClasses } from './ranking.ts';
import { loadUnsplit } from './unsplit.ts';
import { startWireMeter, type WireMeter } from './wire-meter.ts';

/** One row of an evaluation; accuracies in percent, times in ms. */
export interface Evaluation {
  images: number;
  top1: number;
  top5: number;
  /** Mean bits of bitstream per pixel of the network's input. */
  payloadBpp: number;
  /** The same with everything that TCP carried from the edge to the cloud. */
  wireBpp: number;
  bytesPerImage: number;
  encodeMs: { p50: number; p95: number };
  /** Rounding and rANS at the edge, mean. */
  entropyMs: number;
  /** Queue, decoding and inference in the cloud, mean. */
  cloudMs: number;
  /** Multiply-accumulates at the edge for one image. */
  edgeMacs: number;
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

/** Where the bytes of an image go, means per image. */
export interface ByteSplit {
  /** rANS words as the integer coding tables estimate them, without flush. */
  estimated: number;
  /** rANS words as written, without flush. */
  words: number;
  /** The coder's last states, 4 bytes a lane. */
  flush: number;
  header: number;
  /** On a warm stream: the message's fields around the bitstream, */
  protobuf: number;
  /** the prefix of each message, */
  grpc: number;
  /** and frame headers and frames of the connection's own. */
  http2: number;
}

export interface PointEvaluation extends Evaluation {
  point: number;
  n: number;
  q: number;
  precision: Precision;
  bytes: ByteSplit;
  /** The local exit alone, percent; when it was asked for. */
  exitTop1?: number;
}

export interface PointOptions {
  /** Measure the local exit as well. Then its time is part of `encodeMs`. */
  exit?: boolean;
}

export type Progress = (done: number, total: number) => void;

const GRPC_PREFIX_BYTES = 5; // compression flag (1), message length (4)
const IN_FLIGHT = 8;

/**
 * Measures operating points of a bundle on labelled photos: edge -> gRPC over loopback -> cloud, the way that
 * users' images take. Photos are classified 1,000-way or however many classes the bundle has.
 * @throws Error about the photos (an unknown wnid, one that cannot be read)
 */
export async function evaluatePoints(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  points: readonly number[],
  onProgress: Progress = () => undefined,
  { exit = false }: PointOptions = {},
): Promise<PointEvaluation[]> {
  if (exit && !bundle.manifest.exit) {
    throw new Error(`${bundle.manifest.name} has no local exit: train and export it with this version`);
  }
  const labels = labelsOf(bundle, photos);
  const cloud = await startCloud({ bundle, listen: '127.0.0.1:0' });
  const meter = await startWireMeter(cloud.port);
  const client = await connect({ cloud: meter.address, bundle });
  try {
    const rows: PointEvaluation[] = [];
    for (const point of points) {
      const progress: Progress = (done) =>
        onProgress(rows.length * photos.length + done, points.length * photos.length);
      rows.push(await evaluatePoint(client, meter, photos, labels, point, exit, progress));
    }
    return rows;
  } finally {
    await client.close();
    meter.close();
    await cloud.close();
  }
}

async function evaluatePoint(
  client: Client,
  meter: WireMeter,
  photos: readonly LabelledPhoto[],
  labels: readonly number[],
  point: number,
  exit: boolean,
  onProgress: Progress,
): Promise<PointEvaluation> {
  const { manifest, codec } = client.bundle;
  const { height: h, width: w } = manifest.latent;
  const pixels = manifest.input.width * manifest.input.height;
  const { n, q, precision = 'float32', edgeMacs } = manifest.points[point]!;

  await client.send('', await client.edge.encode(photos[0]!.path, point, { exit })); // warms stream and encoder up
  meter.reset();
  const answers: Classification[] = [];
  const estimates: number[] = [];
  const flushes: number[] = [];
  const entropyMs: number[] = [];
  let exitHits = 0;
  const sending = new Set<Promise<void>>();
  for (const [index, { path }] of photos.entries()) {
    const encoded = await client.edge.encode(path, point, { exit });
    if (encoded.exitLogits && topClasses(encoded.exitLogits, 1)[0] === labels[index]) exitHits++;
    estimates.push(estimateBits(encoded.symbols, { h, w }, point, codec) / 8);
    flushes.push(flushBytes(encoded.slices));
    entropyMs.push(encoded.codecMs);
    const sent = client.send(path, encoded, index).then((answer) => {
      answers.push(answer);
      sending.delete(sent);
      onProgress(answers.length, photos.length);
    });
    sending.add(sent);
    sent.catch(() => undefined); // also when another photo failed first and nobody waits for this one
    if (sending.size >= IN_FLIGHT) await Promise.race(sending);
  }
  await Promise.all(sending);

  const bytes = mean(answers.map((answer) => answer.bytes));
  const flush = mean(flushes);
  const { sent, sentData } = meter.read();
  const wire = sent / photos.length;
  const data = sentData / photos.length;
  const encodeMs = answers.map((answer) => answer.encodeMs);
  const outcomes = answers
    .toSorted((a, b) => a.index - b.index)
    .map(({ index, top, bytes: size }) => outcomeOf(photos[index]!, top[0]!.index === labels[index], size));
  const hits = (k: number): number =>
    answers.filter((answer) => answer.top.slice(0, k).some((score) => score.index === labels[answer.index]))
      .length;
  return {
    point,
    n,
    q,
    precision,
    images: photos.length,
    top1: (100 * hits(1)) / photos.length,
    top5: (100 * hits(5)) / photos.length,
    ...(exit && { exitTop1: (100 * exitHits) / photos.length }),
    payloadBpp: (8 * bytes) / pixels,
    wireBpp: (8 * wire) / pixels,
    bytesPerImage: bytes,
    encodeMs: { p50: quantile(encodeMs, 0.5), p95: quantile(encodeMs, 0.95) },
    entropyMs: mean(entropyMs),
    cloudMs: mean(answers.map((answer) => answer.queueMs + answer.decodeMs + answer.inferMs)),
    edgeMacs,
    bytes: {
      estimated: mean(estimates),
      words: bytes - HEADER_BYTES - flush,
      flush,
      header: HEADER_BYTES,
      protobuf: data - GRPC_PREFIX_BYTES - bytes,
      grpc: GRPC_PREFIX_BYTES,
      http2: wire - data,
    },
    photos: outcomes,
  };
}

function outcomeOf({ path, wnid }: LabelledPhoto, right: boolean, bytes: number): PhotoOutcome {
  return { photo: `${wnid}/${basename(path)}`, right, bytes };
}

/**
 * The unsplit network on the same photos: the whole of it on the edge, no byte sent.
 * @throws BundleError `no-stem` where there is none; Error about the photos
 */
export async function evaluateUnsplit(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  onProgress?: Progress,
): Promise<Evaluation> {
  const edgeMacs = stemOf(bundle.manifest).macs + bundle.manifest.classifier.macs;
  return evaluateWhole(bundle, photos, unsent, edgeMacs, onProgress);
}

/**
 * The baseline: photos sent as JPEG at the network's size, the unsplit network in the cloud. No socket: `wireBpp`
 * counts the file alone.
 */
export function evaluateJpeg(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  quality: number,
  onProgress?: Progress,
): Promise<Evaluation> {
  const { input } = bundle.manifest;
  const asJpeg = async (path: string): Promise<SentPhoto> => {
    const pixels = await readPixels(path, input);
    const start = performance.now();
    const { jpeg } = await encodeJpeg(pixels, input.width, input.height, quality);
    return { image: jpeg, bytes: jpeg.length, encodeMs: performance.now() - start };
  };
  return evaluateWhole(bundle, photos, asJpeg, 0, onProgress);
}

/** What the unsplit network gets to see of a photo, and what that cost. */
interface SentPhoto {
  image: ImageInput;
  bytes: number;
  encodeMs: number;
}

async function unsent(path: string): Promise<SentPhoto> {
  return { image: path, bytes: 0, encodeMs: 0 };
}

async function evaluateWhole(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  sendPhoto: (path: string) => Promise<SentPhoto>,
  edgeMacs: number,
  onProgress: Progress = () => undefined,
): Promise<Evaluation> {
  const labels = labelsOf(bundle, photos);
  const { input } = bundle.manifest;
  const network = await loadUnsplit(bundle);
  const sizes: number[] = [];
  const encodeMs: number[] = [];
  const networkMs: number[] = [];
  const outcomes: PhotoOutcome[] = [];
  let top5 = 0;
  try {
    for (const [i, photo] of photos.entries()) {
      const sent = await sendPhoto(photo.path);
      const start = performance.now();
      const top = topClasses(await network.classify(sent.image), 5);
      networkMs.push(performance.now() - start);
      sizes.push(sent.bytes);
      encodeMs.push(sent.encodeMs);
      outcomes.push(outcomeOf(photo, top[0] === labels[i], sent.bytes));
      if (top.includes(labels[i]!)) top5++;
      onProgress(i + 1, photos.length);
    }
  } finally {
    await network.release();
  }
  const bpp = (8 * mean(sizes)) / (input.width * input.height);
  const edgeMs = edgeMacs > 0 ? networkMs : encodeMs;
  return {
    images: photos.length,
    top1: (100 * outcomes.filter(({ right }) => right).length) / photos.length,
    top5: (100 * top5) / photos.length,
    payloadBpp: bpp,
    wireBpp: bpp,
    bytesPerImage: mean(sizes),
    encodeMs: { p50: quantile(edgeMs, 0.5), p95: quantile(edgeMs, 0.95) },
    entropyMs: 0,
    cloudMs: edgeMacs > 0 ? 0 : mean(networkMs),
    edgeMacs,
    photos: outcomes,
  };
}
