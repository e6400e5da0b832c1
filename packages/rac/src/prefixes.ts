import type { Bundle, MeasuredPrefix } from '@raccoon/bundle';
import { encodeBitstream } from '@raccoon/codec';
import { openEdge } from '@raccoon/edge/node';
import type { Progress } from './evaluate.ts';
import { labelsOf, type LabelledPhoto } from './photos.ts';
import { openPrefixClassifier } from './prefix-classifier.ts';
import { mean } from './ranking.ts';

const PARTS = 4; // the bitstream's most slices

/** What the first channels alone are good for, at one operating point; the last row has all of them. */
export interface PrefixEvaluation {
  point: number;
  prefixes: MeasuredPrefix[];
}

/**
 * Sends only the first slices of photos that were cut into four: 25, 50, 75 and 100 % of the channels, the symbols of
 * the others 0. All in this process and without a socket: bytes are those of the slices.
 * @throws Error about the photos
 */
export async function evaluatePrefixes(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  points: readonly number[],
  onProgress: Progress = () => undefined,
): Promise<PrefixEvaluation[]> {
  const labels = labelsOf(bundle, photos);
  const { manifest, codec } = bundle;
  const { channels, height: h, width: w } = manifest.latent;
  const pixels = manifest.input.width * manifest.input.height;
  const channelEnds = prefixEnds(channels);
  const edge = await openEdge(bundle);
  const cloud = await openPrefixClassifier(bundle);
  try {
    const rows: PrefixEvaluation[] = [];
    for (const point of points) {
      const hits = channelEnds.map(() => 0);
      const bytes = channelEnds.map((): number[] => []);
      for (const [i, { path }] of photos.entries()) {
        const { symbols } = await edge.encode(path, point);
        const slices = encodeBitstream(symbols, { h, w }, point, codec, { channelEnds });
        const starts = channelEnds.map((_, k) => slices.slice(0, k + 1));
        const answers = await Promise.all(starts.map((start) => cloud.classify(start)));
        for (const [k, start] of starts.entries()) {
          if (answers[k]!.top[0]!.index === labels[i]) hits[k]!++;
          bytes[k]!.push(start.reduce((sum, slice) => sum + slice.length, 0));
        }
        onProgress(rows.length * photos.length + i + 1, points.length * photos.length);
      }
      const prefixes = channelEnds.map((end, k) => ({
        channels: end,
        top1: (100 * hits[k]!) / photos.length,
        payloadBpp: (8 * mean(bytes[k]!)) / pixels,
      }));
      rows.push({ point, prefixes });
    }
    return rows;
  } finally {
    await edge.close();
    await cloud.close();
  }
}

/** Where quarters of the channels end; fewer where there are not four. */
export function prefixEnds(channels: number): number[] {
  const ends = Array.from({ length: PARTS }, (_, k) => Math.ceil((channels * (k + 1)) / PARTS));
  return [...new Set(ends)];
}
