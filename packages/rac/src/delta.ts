import type { Curve, CurvePoint } from './curve.ts';
import { linear, pchip, polynomial, type Interpolant } from './interpolation.ts';
import { mulberry32 } from './random.ts';
import { quantile } from './ranking.ts';

/**
 * How much more accurate `test` is than `anchor`, in points of top-1, as a mean over the rates that both have. The fit
 * alone moves the result by half a point, so every definition in use is here under its own name.
 */
export interface Delta {
  /**
   * Least-squares polynomials of degree 4 in ln bpp, mean over 10,000 places equally spaced in bpp; null with fewer than
   * 5 points.
   */
  meanPoly4: number | null;
  /**
   * What the code published with arXiv 2211.09897 computes: `meanPoly4` divided by the overlap's width in bpp once
   * more. Its unit is points per bpp; only for comparison with numbers made by that code.
   */
  paper: number | null;
  /** Straight lines in bpp, mean over bpp. */
  meanLinear: number;
  /** Monotone cubics (pchip) in bpp, mean over bpp. */
  meanPchip: number;
  /** Pchip in ln bpp, mean over ln bpp: low rates count as much as high ones. */
  meanLogBpp: number;
  /**
   * Bytes that `test` needs more (or less: negative) than `anchor` for the same accuracy, percent: pchip of ln bpp over
   * accuracy, mean over the accuracies that both reach (Bjontegaard); null where there are none.
   */
  bdRatePercent: number | null;
  /** Whether points were left out for `bdRatePercent`: those that cost more than another one and are no better. */
  bdRateDropped: boolean;
  /** Rates that both curves have, bpp. */
  overlap: [number, number];
}

/** 95 % intervals of `Delta`'s numbers. */
export type DeltaIntervals = {
  [Key in 'meanPoly4' | 'paper' | 'meanLinear' | 'meanPchip' | 'meanLogBpp' | 'bdRatePercent']:
    [number, number] | null;
};

const DEGREE = 4;
const PLACES = 10_000;
const RESAMPLES = 1000;

const lines = (curve: Curve): Interpolant => linear(rates(curve), accuracies(curve));
const cubics = (curve: Curve): Interpolant => pchip(rates(curve), accuracies(curve));
const cubicsInLog = (curve: Curve): Interpolant => pchip(rates(curve).map(Math.log), accuracies(curve));

/** @throws Error when the curves have no rates in common */
export function delta(anchor: Curve, test: Curve): Delta {
  const interpolated = interpolatedDelta(anchor, test);
  const [low, high] = interpolated.overlap;
  const meanPoly4 = meanOfPolynomials(anchor, test, interpolated.overlap);
  return { meanPoly4, paper: meanPoly4 === null ? null : meanPoly4 / (high - low), ...interpolated };
}

/**
 * The definitions that interpolate: some twenty times as quick as with the polynomials, for bootstraps.
 * @param within rates, bpp: means over these alone, so that those of several tests are of the same rates
 * @throws Error when the curves have no rates in common
 */
export function interpolatedDelta(
  anchor: Curve,
  test: Curve,
  within: readonly [number, number] = [0, Infinity],
): Omit<Delta, 'meanPoly4' | 'paper'> {
  const overlap = overlapOf(anchor, test, within);
  const [low, high] = overlap;

  const mean = (fit: (curve: Curve) => Interpolant, from: number, to: number): number =>
    (fit(test).integral(from, to) - fit(anchor).integral(from, to)) / (to - from);

  const hulls = [anchor, test].map(({ name, points }) => ({ name, points: hull(points) })) as [Curve, Curve];
  return {
    meanLinear: mean(lines, low, high),
    meanPchip: mean(cubics, low, high),
    meanLogBpp: mean(cubicsInLog, Math.log(low), Math.log(high)),
    bdRatePercent: bdRate(...hulls),
    bdRateDropped:
      hulls[0].points.length < anchor.points.length || hulls[1].points.length < test.points.length,
    overlap,
  };
}

/**
 * Intervals by a paired bootstrap: photos are drawn with replacement, the same for every point of both curves.
 * @returns undefined where a point has no photos
 * @throws Error if the photos are not the same everywhere
 */
export function deltaIntervals(anchor: Curve, test: Curve, seed = 1): DeltaIntervals | undefined {
  const points = [...anchor.points, ...test.points];
  const photos = points[0]?.photos;
  if (!photos || points.some((point) => !point.photos)) return undefined;
  for (const { photos: others } of points) {
    if (others!.length !== photos.length || others!.some(({ photo }, i) => photo !== photos[i]!.photo)) {
      throw new Error(
        `${anchor.name} and ${test.name} are not of the same photos: use the same --limit and --seed`,
      );
    }
  }
  const random = mulberry32(seed);
  const deltas = Array.from({ length: RESAMPLES }, () => {
    const drawn = Uint32Array.from(photos, () => random() * photos.length);
    return deltaOrNone(resampled(anchor, drawn), resampled(test, drawn));
  }).filter((resample) => resample !== undefined);
  const interval = (key: keyof DeltaIntervals): [number, number] | null => {
    const values = deltas.map((resample) => resample[key]).filter((value) => value !== null);
    // an interval of what exists in some resamples only would be of something else
    return values.length < RESAMPLES ? null : [quantile(values, 0.025), quantile(values, 0.975)];
  };
  return {
    meanPoly4: interval('meanPoly4'),
    paper: interval('paper'),
    meanLinear: interval('meanLinear'),
    meanPchip: interval('meanPchip'),
    meanLogBpp: interval('meanLogBpp'),
    bdRatePercent: interval('bdRatePercent'),
  };
}

/** Rates of a resample differ a little: two points may change places, or curves that hardly overlap may not. */
function deltaOrNone(anchor: Curve, test: Curve): Delta | undefined {
  try {
    return delta(anchor, test);
  } catch {
    return undefined;
  }
}

function resampled({ name, points }: Curve, drawn: Uint32Array): Curve {
  const drawnPoints = points.map(({ bpp, photos }): CurvePoint => {
    const all = photos!.reduce((sum, { bytes }) => sum + bytes, 0) / photos!.length;
    let [right, bytes] = [0, 0];
    for (const i of drawn) {
      right += Number(photos![i]!.right);
      bytes += photos![i]!.bytes;
    }
    return { bpp: (bpp * bytes) / drawn.length / all, top1: (100 * right) / drawn.length };
  });
  return { name, points: drawnPoints.toSorted((a, b) => a.bpp - b.bpp) };
}

function overlapOf(
  anchor: Curve,
  test: Curve,
  [least, most]: readonly [number, number] = [0, Infinity],
): [number, number] {
  const low = Math.max(anchor.points[0]!.bpp, test.points[0]!.bpp, least);
  const high = Math.min(anchor.points.at(-1)!.bpp, test.points.at(-1)!.bpp, most);
  if (low < high) return [low, high];
  throw new Error(`the curves have no rates in common: ${range(anchor)}, ${range(test)}`);
}

function meanOfPolynomials(anchor: Curve, test: Curve, [low, high]: [number, number]): number | null {
  const [of, to] = [test, anchor].map((curve) =>
    polynomial(rates(curve).map(Math.log), accuracies(curve), DEGREE),
  );
  if (!of || !to) return null;
  let sum = 0;
  for (let i = 0; i < PLACES; i++) {
    const x = Math.log(low + ((high - low) * i) / (PLACES - 1));
    sum += of(x) - to(x);
  }
  return sum / PLACES;
}

function range({ name, points }: Curve): string {
  return `${name} ${points[0]!.bpp} to ${points.at(-1)!.bpp} bpp`;
}

/** By rising rate, those that are better than every one before. */
function hull(points: readonly CurvePoint[]): CurvePoint[] {
  let best = -1;
  return points.filter(({ top1 }) => {
    const better = top1 > best;
    if (better) best = top1;
    return better;
  });
}

function bdRate(anchor: Curve, test: Curve): number | null {
  const low = Math.max(anchor.points[0]!.top1, test.points[0]!.top1);
  const high = Math.min(anchor.points.at(-1)!.top1, test.points.at(-1)!.top1);
  if (low >= high || anchor.points.length < 2 || test.points.length < 2) return null;
  const [to, of] = [anchor, test].map((curve) => pchip(accuracies(curve), rates(curve).map(Math.log)));
  return 100 * Math.expm1((of!.integral(low, high) - to!.integral(low, high)) / (high - low));
}

const rates = ({ points }: Curve): number[] => points.map(({ bpp }) => bpp);
const accuracies = ({ points }: Curve): number[] => points.map(({ top1 }) => top1);
