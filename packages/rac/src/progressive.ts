import type { Bundle } from '@raccoon/bundle';
import { WIRE_OVERHEAD_BYTES, channelEndsAt } from '@raccoon/client';
import { encodeBitstream } from '@raccoon/codec';
import { openEdge } from '@raccoon/edge/node';
import type { Progress } from './evaluate.ts';
import { labelsOf, type LabelledPhoto } from './photos.ts';
import { openPrefixClassifier } from './prefix-classifier.ts';
import { mean } from './ranking.ts';

/** What the first of several slices says beyond a request of one: `more_slices` (2 bytes) and `stop_margin` (5). */
const FIRST_SLICE_BYTES = 7;

/** What the cloud makes of an image after each of its slices. */
export interface SlicedPhoto {
  /** Of each slice. */
  bytes: number[];
  /** Of the image in one slice. */
  wholeBytes: number;
  /** Probability of the first class less that of the second. */
  margins: number[];
  /** Whether the first class is the label. */
  right: boolean[];
}

export interface SlicedEvaluation {
  point: number;
  /** Where the slices end. */
  channelEnds: number[];
  photos: SlicedPhoto[];
}

/** Images at one stop margin, means per image; bytes with everything that TCP carries from edge to cloud. */
export interface StopRow {
  stopMargin: number;
  /** Percent. */
  top1: number;
  bytes: number;
  /** Slices that were sent. */
  slices: number;
}

/**
 * Cuts photos into slices that hold about these shares of the bits, and asks the cloud after each slice: what progressive
 * sending has to choose from, at any stop margin. In this process, without a socket.
 * @throws Error about the photos
 */
export async function evaluateSlices(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  points: readonly number[],
  shares: readonly number[],
  onProgress: Progress = () => undefined,
): Promise<SlicedEvaluation[]> {
  const labels = labelsOf(bundle, photos);
  const { manifest, codec } = bundle;
  const { height: h, width: w } = manifest.latent;
  const edge = await openEdge(bundle);
  const cloud = await openPrefixClassifier(bundle);
  try {
    const rows: SlicedEvaluation[] = [];
    for (const point of points) {
      const channelEnds = channelEndsAt(bundle, point, shares);
      const sliced: SlicedPhoto[] = [];
      for (const [i, { path }] of photos.entries()) {
        const { symbols, bytes: wholeBytes } = await edge.encode(path, point);
        const slices = encodeBitstream(symbols, { h, w }, point, codec, { channelEnds });
        const results = await Promise.all(slices.map((_, k) => cloud.classify(slices.slice(0, k + 1))));
        sliced.push({
          bytes: slices.map(({ length }) => length),
          wholeBytes,
          margins: results.map(({ margin }) => margin),
          right: results.map(({ top }) => top[0]!.index === labels[i]),
        });
        onProgress(rows.length * photos.length + i + 1, points.length * photos.length);
      }
      rows.push({ point, channelEnds, photos: sliced });
    }
    return rows;
  } finally {
    await edge.close();
    await cloud.close();
  }
}

/** The photos, each sent until the cloud is sure of it. */
export function stopAt({ photos }: SlicedEvaluation, stopMargin: number): StopRow {
  const sent = photos.map(({ margins }) => {
    const sure = margins.findIndex((margin) => margin >= stopMargin);
    return sure === -1 ? margins.length : sure + 1;
  });
  return {
    stopMargin,
    top1: 100 * mean(photos.map(({ right }, i) => Number(right[sent[i]! - 1]))),
    bytes: mean(photos.map((photo, i) => bytesOf(photo, sent[i]!))),
    slices: mean(sent),
  };
}

/** Of the first slices of a photo, on the wire. */
function bytesOf({ bytes }: SlicedPhoto, slices: number): number {
  const overhead = FIRST_SLICE_BYTES + slices * WIRE_OVERHEAD_BYTES;
  return bytes.slice(0, slices).reduce((sum, b) => sum + b, overhead);
}

/** The same photos in one slice each: top-1, percent, and bytes on the wire. */
export function inOneSlice({ photos }: SlicedEvaluation): { top1: number; bytes: number } {
  return {
    top1: 100 * mean(photos.map(({ right }) => Number(right.at(-1)))),
    bytes: mean(photos.map(({ wholeBytes }) => wholeBytes)) + WIRE_OVERHEAD_BYTES,
  };
}
