import type { Curve } from '../curve.ts';
import { interpolatedDelta, type Delta } from '../delta.ts';
import { interval, type Interval, type Resampled } from './bands.ts';
import type { Series } from './series.ts';

/** Rates at which methods are compared, bpp. */
export const RATES = [0.1, 0.2, 0.5, 1] as const;

/** A curve that begins so little above a rate, or ends so little below, still has its end there; the report says so. */
const NEAR = 1.15;

/** What a method has at a rate. */
export interface AtRate extends Interval {
  top1: number;
  /** Of the point, bpp: the rate itself where the curve goes through it. */
  bpp: number;
}

/** Of two methods at a rate, in points of top-1. */
export interface RateDifference {
  rate: number;
  subject: string;
  other: string;
  /** Null where the method does not go so low, or was not measured so high. */
  subjectAt: AtRate | null;
  otherAt: AtRate | null;
  /** subject - other, with its interval; null where there is one of them only. */
  difference: (Interval & { mean: number }) | null;
  /** Whether the interval is by a bootstrap over photos that both saw. */
  paired: boolean;
}

/** Delta-accuracy of two curves, with intervals. */
export interface CurveDifference {
  subject: string;
  other: string;
  delta: Pick<Delta, 'meanPchip' | 'meanLogBpp' | 'bdRatePercent' | 'bdRateDropped' | 'overlap'>;
  /** Null where it is not there in every resample. */
  intervals: Record<'meanPchip' | 'meanLogBpp' | 'bdRatePercent', Interval | null>;
}

type Resamples = ReadonlyMap<Series['points'][number], Resampled>;
type Place = { bpp: number; top1: number };

/**
 * Accuracy at `rate` bits per pixel: straight lines in ln bpp between points; just beyond an end, that end. What sends
 * nothing has the same at every rate.
 */
export function atRate(series: Series, rate: number, resamples: Resamples): AtRate | null {
  const places = placesOf(series);
  const [least, most] = [places[0]!.bpp, places.at(-1)!.bpp];
  if (least > rate * NEAR || (most > 0 && most < rate / NEAR)) return null;
  const bpp = Math.min(Math.max(rate, least), most);
  return {
    top1: top1At(places, rate),
    bpp,
    ...interval(resampledAt(series, rate, resamples)),
  };
}

/** `subject` against `other` at a rate. */
export function differenceAt(
  subject: Series,
  other: Series,
  rate: number,
  resamples: Resamples,
): RateDifference {
  const [subjectAt, otherAt] = [subject, other].map((series) => atRate(series, rate, resamples)) as [
    AtRate | null,
    AtRate | null,
  ];
  const paired = [...subject.points, ...other.points].every((point) => resamples.get(point)!.by === 'photos');
  const known = { rate, subject: subject.name, other: other.name, subjectAt, otherAt, paired };
  if (!subjectAt || !otherAt) return { ...known, difference: null };
  const theirs = resampledAt(other, rate, resamples);
  const gains = resampledAt(subject, rate, resamples).map((top1, i) => top1 - theirs[i]!);
  return { ...known, difference: { mean: subjectAt.top1 - otherAt.top1, ...interval(gains) } };
}

/**
 * Delta-accuracy of `subject` against `other`.
 * @param within its means are over these rates alone, bpp
 * @returns undefined where they have no rates in common
 */
export function curveDifference(
  subject: Series,
  other: Series,
  resamples: Resamples,
  within?: readonly [number, number],
): CurveDifference | undefined {
  const delta = deltaOrNone(curveOf(other, placesOf(other)), curveOf(subject, placesOf(subject)), within);
  if (!delta) return undefined;
  const count = resamples.get(subject.points[0]!)!.top1.length;
  const all = Array.from({ length: count }, (_, r) =>
    deltaOrNone(
      curveOf(other, resampledPlaces(other, r, resamples)),
      curveOf(subject, resampledPlaces(subject, r, resamples)),
      within,
    ),
  );
  const spread = (key: keyof CurveDifference['intervals']): Interval | null => {
    const values = all.flatMap((resampled) => resampled?.[key] ?? []);
    // an interval of what exists in some resamples only would be of something else
    return values.length < count ? null : interval(values);
  };
  return {
    subject: subject.name,
    other: other.name,
    delta,
    intervals: {
      meanPchip: spread('meanPchip'),
      meanLogBpp: spread('meanLogBpp'),
      bdRatePercent: spread('bdRatePercent'),
    },
  };
}

function placesOf({ points }: Series): Place[] {
  return rising(points.map(({ row }) => ({ bpp: row.payloadBpp, top1: row.top1 })));
}

function resampledPlaces({ points }: Series, r: number, resamples: Resamples): Place[] {
  return rising(
    points.map((point) => {
      const { bpp, top1 } = resamples.get(point)!;
      return { bpp: bpp[r]!, top1: top1[r]! };
    }),
  );
}

/** By rising rate, which resampling may change; of two at one rate, which codecs have at their lowest, the better. */
function rising(places: Place[]): Place[] {
  const sorted = places.toSorted((a, b) => a.bpp - b.bpp || a.top1 - b.top1);
  return sorted.filter(({ bpp }, i) => bpp !== sorted[i + 1]?.bpp);
}

function resampledAt(series: Series, rate: number, resamples: Resamples): Float64Array {
  const { length } = resamples.get(series.points[0]!)!.top1;
  return Float64Array.from({ length }, (_, r) => top1At(resampledPlaces(series, r, resamples), rate));
}

function top1At(places: readonly Place[], rate: number): number {
  const next = places.findIndex(({ bpp }) => bpp > rate);
  if (next < 0) return places.at(-1)!.top1;
  if (next === 0) return places[0]!.top1;
  const [left, right] = [places[next - 1]!, places[next]!];
  if (left.bpp === 0) return left.top1; // nothing is sent, and no line in ln bpp starts there
  const share = Math.log(rate / left.bpp) / Math.log(right.bpp / left.bpp);
  return left.top1 + share * (right.top1 - left.top1);
}

function curveOf({ name }: Series, points: Place[]): Curve {
  return { name, points };
}

function deltaOrNone(
  anchor: Curve,
  test: Curve,
  within?: readonly [number, number],
): CurveDifference['delta'] | undefined {
  try {
    return interpolatedDelta(anchor, test, within);
  } catch {
    return undefined;
  }
}
