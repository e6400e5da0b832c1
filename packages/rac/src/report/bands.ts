import type { PhotoOutcome } from '../evaluate.ts';
import { mulberry32 } from '../random.ts';
import { quantile } from '../ranking.ts';
import type { ResultRow } from '../results.ts';
import type { Point } from './series.ts';

/** 95 %. */
export interface Interval {
  low: number;
  high: number;
}

/** What a point could have been with other photos: one value for each resample, the same photos in all points. */
export interface Resampled {
  top1: Float64Array;
  bpp: Float64Array;
  /** Photos drawn with replacement; without them, a binomial distribution of top-1, in which nothing is paired. */
  by: 'photos' | 'binomial';
}

const RESAMPLES = 1000;

/**
 * A bootstrap over the photos (Efron): photos are drawn with replacement, the same ones for all points, so that what makes
 * a photo hard for everybody does not count as a difference. Points of several seeds are their means.
 * @throws Error if two rows are not of the same photos
 */
export function resample(points: readonly Point[], seed = 1): ReadonlyMap<Point, Resampled> {
  const kept = points.filter(({ seeds }) => seeds.every(({ photos }) => photos));
  checkSamePhotos(kept.flatMap(({ seeds }) => seeds));
  const count = kept[0]?.seeds[0]!.photos!.length ?? 0;
  const drawn = draws(count, seed);
  return new Map(
    points.map((point, i): [Point, Resampled] =>
      kept.includes(point) ? [point, byPhotos(point, drawn)] : [point, byBinomial(point, seed + 1 + i)],
    ),
  );
}

/** The middle 95 % of values. */
export function interval(values: Float64Array | readonly number[]): Interval {
  const all = Array.from(values);
  return { low: quantile(all, 0.025), high: quantile(all, 0.975) };
}

/** Of a point's top-1: the evaluation's own where it says one. */
export function top1Interval({ row }: Point, { top1 }: Resampled): Interval {
  const [low, high] = row.top1Interval ?? [];
  return low === undefined || high === undefined ? interval(top1) : { low, high };
}

function checkSamePhotos(rows: readonly ResultRow[]): void {
  const [first, ...others] = rows;
  const photos = first?.photos ?? [];
  for (const row of others) {
    const alike =
      row.photos!.length === photos.length && row.photos!.every(({ photo }, i) => photo === photos[i]!.photo);
    if (!alike) {
      throw new Error(
        `${first!.series} ${first!.point} and ${row.series} ${row.point} are not of the same photos: measure both with the same --data, --limit and --seed`,
      );
    }
  }
}

/** How often each photo is drawn, of each resample. */
function draws(count: number, seed: number): Uint16Array[] {
  const random = mulberry32(seed);
  return Array.from({ length: RESAMPLES }, () => {
    const times = new Uint16Array(count);
    for (let k = 0; k < count; k++) times[Math.floor(random() * count)]!++;
    return times;
  });
}

function byPhotos({ row, seeds }: Point, drawn: readonly Uint16Array[]): Resampled {
  const outcomes = seeds.map(({ photos }) => photos!);
  const over = (of: (photo: PhotoOutcome) => number): Float64Array =>
    Float64Array.from(outcomes[0]!, (_, i) => outcomes.reduce((sum, photos) => sum + of(photos[i]!), 0));
  const right = over((photo) => Number(photo.right));
  const bytes = over((photo) => photo.bytes);
  const perRight = 100 / right.length / seeds.length;
  const total = bytes.reduce((sum, value) => sum + value, 0);
  return {
    top1: Float64Array.from(drawn, (times) => perRight * dot(times, right)),
    // a method that sends nothing has no bytes, and stays at its rate
    bpp: Float64Array.from(drawn, (times) => (total > 0 ? (row.payloadBpp * dot(times, bytes)) / total : 0)),
    by: 'photos',
  };
}

function byBinomial({ row, seeds }: Point, seed: number): Resampled {
  const random = mulberry32(seed);
  const trials = row.images * seeds.length;
  const top1 = Float64Array.from({ length: RESAMPLES }, () => {
    let right = 0;
    for (let k = 0; k < trials; k++) right += Number(100 * random() < row.top1);
    return (100 * right) / trials;
  });
  return { top1, bpp: new Float64Array(RESAMPLES).fill(row.payloadBpp), by: 'binomial' };
}

function dot(a: Uint16Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
