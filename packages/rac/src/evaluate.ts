import type { Bundle } from '@raccoon/bundle';
import { connect, type Classification, type Client } from '@raccoon/client';
import { startCloud } from '@raccoon/cloud';
import { estimateBits, HEADER_BYTES } from '@raccoon/codec';
import type { LabelledPhoto } from './photos.ts';
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
}

/** Where the bytes of an image go, means per image. */
export interface ByteSplit {
  /** rANS words as the integer coding tables estimate them, without flush. */
  estimated: number;
  /** rANS words as written, without flush. */
  words: number;
  /** The coder's final state. */
  flush: number;
  header: number;
  /** protobuf fields, gRPC prefix and HTTP/2 frames, on a warm stream. */
  wire: number;
}

export interface PointEvaluation extends Evaluation {
  point: number;
  n: number;
  q: number;
  bytes: ByteSplit;
}

export type Progress = (done: number, total: number) => void;

const FLUSH_BYTES = 4; // rANS state, docs/bitstream.md
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
): Promise<PointEvaluation[]> {
  const labels = labelsOf(bundle, photos);
  const cloud = await startCloud({ bundle, listen: '127.0.0.1:0' });
  const meter = await startWireMeter(cloud.port);
  const client = await connect({ cloud: meter.address, bundle });
  try {
    const rows: PointEvaluation[] = [];
    for (const point of points) {
      const progress: Progress = (done) =>
        onProgress(rows.length * photos.length + done, points.length * photos.length);
      rows.push(await evaluatePoint(client, meter, photos, labels, point, progress));
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
  onProgress: Progress,
): Promise<PointEvaluation> {
  const { manifest, codec } = client.bundle;
  const { height: h, width: w } = manifest.latent;
  const pixels = manifest.input.width * manifest.input.height;
  const { n, q, edgeMacs } = manifest.points[point]!;

  await client.send('', await client.edge.encode(photos[0]!.path, point)); // warms stream and encoder up
  meter.reset();
  const answers: Classification[] = [];
  const estimates: number[] = [];
  const entropyMs: number[] = [];
  const sending = new Set<Promise<void>>();
  for (const [index, { path }] of photos.entries()) {
    const encoded = await client.edge.encode(path, point);
    estimates.push(estimateBits(encoded.symbols, { h, w }, point, codec) / 8);
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
  const wire = meter.read().sent / photos.length;
  const encodeMs = answers.map((answer) => answer.encodeMs);
  const hits = (k: number): number =>
    answers.filter((answer) => answer.top.slice(0, k).some((score) => score.index === labels[answer.index]))
      .length;
  return {
    point,
    n,
    q,
    images: photos.length,
    top1: (100 * hits(1)) / photos.length,
    top5: (100 * hits(5)) / photos.length,
    payloadBpp: (8 * bytes) / pixels,
    wireBpp: (8 * wire) / pixels,
    bytesPerImage: bytes,
    encodeMs: { p50: quantile(encodeMs, 0.5), p95: quantile(encodeMs, 0.95) },
    entropyMs: mean(entropyMs),
    cloudMs: mean(answers.map((answer) => answer.queueMs + answer.decodeMs + answer.inferMs)),
    edgeMacs,
    bytes: {
      estimated: mean(estimates),
      words: bytes - HEADER_BYTES - FLUSH_BYTES,
      flush: FLUSH_BYTES,
      header: HEADER_BYTES,
      wire: wire - bytes,
    },
  };
}

/** The unsplit network on the same photos: the whole of it on the edge, no byte sent. */
export async function evaluateUnsplit(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  onProgress: Progress = () => undefined,
): Promise<Evaluation> {
  const labels = labelsOf(bundle, photos);
  const network = await loadUnsplit(bundle);
  const ms: number[] = [];
  let top1 = 0;
  let top5 = 0;
  try {
    for (const [i, { path }] of photos.entries()) {
      const start = performance.now();
      const top = topClasses(await network.classify(path), 5);
      ms.push(performance.now() - start);
      if (top[0] === labels[i]) top1++;
      if (top.includes(labels[i]!)) top5++;
      onProgress(i + 1, photos.length);
    }
  } finally {
    await network.release();
  }
  return {
    images: photos.length,
    top1: (100 * top1) / photos.length,
    top5: (100 * top5) / photos.length,
    payloadBpp: 0,
    wireBpp: 0,
    bytesPerImage: 0,
    encodeMs: { p50: quantile(ms, 0.5), p95: quantile(ms, 0.95) },
    entropyMs: 0,
    cloudMs: 0,
    edgeMacs: bundle.manifest.stem.macs + bundle.manifest.classifier.macs,
  };
}

/** Class index of every photo, from its folder's name. */
function labelsOf(bundle: Bundle, photos: readonly LabelledPhoto[]): number[] {
  const index = new Map(bundle.manifest.classes.map(({ wnid }, i) => [wnid, i]));
  return photos.map(({ wnid, path }) => {
    const label = index.get(wnid);
    if (label === undefined) throw new Error(`${path}: ${bundle.manifest.name} has no class ${wnid}`);
    return label;
  });
}
