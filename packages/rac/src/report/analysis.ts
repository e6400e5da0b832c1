import type { Bundle } from '@raccoon/bundle';
import type { DeviceProfile } from '@raccoon/edge';
import { isClean } from '../results.ts';
import { resample, type Resampled } from './bands.ts';
import type { CollectedFile } from './collect.ts';
import { noiseCurves, type NoiseCurve } from './noise.ts';
import { paretoSet, type ParetoPoint } from './pareto.ts';
import type { PublishedCurves } from './published.ts';
import { isBaseline, isCurve, seriesOf, type Point, type Series } from './series.ts';
import {
  atRate,
  curveDifference,
  differenceAt,
  RATES,
  type CurveDifference,
  type RateDifference,
} from './versus.ts';

/** What a report is made from. */
export interface ReportInput {
  files: readonly CollectedFile[];
  /** Of `raccoon bench`: times of the same encoders on other devices. */
  profiles?: readonly DeviceProfile[];
  /** Other people's numbers on other data. */
  published?: PublishedCurves;
  /** For the bits of every channel. */
  bundle?: Bundle;
  /** The series that the report is about; default: of our own the most accurate one at the rates of comparison. */
  subject?: string;
  /** The series that Delta-accuracies are against; default: a baseline that has rates in common with most series. */
  anchor?: string;
  title?: string;
  /** The command that makes the report again. */
  command?: string;
}

/** Everything that a report says, in numbers. */
export interface Analysis {
  input: ReportInput;
  series: readonly Series[];
  resamples: ReadonlyMap<Point, Resampled>;
  /** Encoders of ours: what is not a baseline. */
  own: readonly Series[];
  subject: Series;
  /** What the subject is compared with: series of other methods. */
  others: readonly Series[];
  /** Undefined where no two curves have rates in common. */
  anchor: Series | undefined;
  /** Every series of ours against every other series, at every rate. */
  differences: readonly RateDifference[];
  /** The subject against every curve that it has rates in common with. */
  subjectDeltas: readonly CurveDifference[];
  /** Curves against the anchor, all over the same rates: else those of lower rates alone would seem the better ones. */
  anchorDeltas: readonly CurveDifference[];
  /** These rates, bpp; and curves that have too few of them. */
  commonRates: { low: number; high: number; without: readonly Series[] } | undefined;
  /** The machine that most rows were measured on. Times of other ones are left out of what compares times. */
  machine: string;
  paretoByMacs: readonly ParetoPoint[];
  paretoByTime: readonly ParetoPoint[];
  /** What was measured with noise on the photos; nothing else here is of such rows. */
  noise: readonly NoiseCurve[];
}

/** @throws Error about a series that is not there, an anchor that nothing can be compared with, or photos with noise alone */
export function analyse(input: ReportInput): Analysis {
  const clean = input.files.map((file) => ({
    ...file,
    results: { ...file.results, rows: file.results.rows.filter(isClean) },
  }));
  if (clean.every(({ results }) => results.rows.length === 0)) {
    throw new Error('all rows are of photos with noise: measure without it, too, raccoon eval --noise 0,...');
  }
  const series = seriesOf(clean);
  const resamples = resample(series.flatMap(({ points }) => points));
  const own = series.filter((of) => !isBaseline(of));
  const curves = series.filter(isCurve);
  const anchor = input.anchor === undefined ? bestAnchor(curves) : namedAnchor(input.anchor, series, curves);
  const subject =
    input.subject === undefined ? bestSubject(own, series, resamples) : named(input.subject, series);
  const commonRates = anchor && commonRatesOf(anchor, subject, curves);
  const comparable = curves.filter((of) => !commonRates?.without.includes(of));

  const subjects = own.includes(subject) ? own : [subject, ...own];
  const differences = subjects.flatMap((of) =>
    series
      .filter((other) => other !== of)
      .flatMap((other) => RATES.map((rate) => differenceAt(of, other, rate, resamples))),
  );
  const machine = mostCommon(series.flatMap(({ points }) => points.map((point) => point.machine)));
  const here = series.map((of) => ({
    ...of,
    points: of.points.filter((point) => point.machine === machine),
  }));
  return {
    input,
    series,
    resamples,
    own,
    subject,
    others: series.filter(({ method }) => method !== subject.method),
    anchor,
    differences,
    subjectDeltas: isCurve(subject) ? deltas([subject], curves, resamples) : [],
    anchorDeltas: anchor ? deltas(comparable, [anchor], resamples, commonRates) : [],
    commonRates,
    machine,
    paretoByMacs: paretoSet(series, ({ edgeMacs }) => edgeMacs || null), // image codecs work, too, but not in these
    paretoByTime: paretoSet(here, ({ encodeMs }) => encodeMs?.p50 ?? null),
    noise: noiseCurves(input.files),
  };
}

function deltas(
  subjects: readonly Series[],
  others: readonly Series[],
  resamples: Analysis['resamples'],
  within?: { low: number; high: number },
): CurveDifference[] {
  const rates = within && ([within.low, within.high] as const);
  return subjects.flatMap((subject) =>
    others
      .filter((other) => other !== subject)
      .flatMap((other) => curveDifference(subject, other, resamples, rates) ?? []),
  );
}

/**
 * Rates that nearly all curves have: those of anchor and subject, less what other curves do not have, as long as half of
 * them are left (in ln bpp). Curves that would take more are left out.
 */
function commonRatesOf(
  anchor: Series,
  subject: Series,
  curves: readonly Series[],
): NonNullable<Analysis['commonRates']> {
  const first = overlap(anchor, subject) ?? ratesOf(anchor);
  const enough = width(first) / 2;
  const without: Series[] = [];
  let common = first;
  const shared = (of: Series): number => width(intersection(ratesOf(of), first));
  for (const of of curves.toSorted((a, b) => shared(b) - shared(a))) {
    const left = intersection(common, ratesOf(of));
    if (width(left) >= enough) common = left;
    else without.push(of);
  }
  return { ...common, without };
}

interface Rates {
  low: number;
  high: number;
}

function ratesOf({ points }: Series): Rates {
  return { low: points[0]!.row.payloadBpp, high: points.at(-1)!.row.payloadBpp };
}

function intersection(a: Rates, b: Rates): Rates {
  return { low: Math.max(a.low, b.low), high: Math.min(a.high, b.high) };
}

function width({ low, high }: Rates): number {
  return high > low ? Math.log(high / low) : 0;
}

function named(name: string, series: readonly Series[]): Series {
  const found = series.find((of) => of.name === name);
  if (found) return found;
  throw new Error(`there is no series ${name}; there are ${series.map((of) => of.name).join(', ')}`);
}

function namedAnchor(name: string, series: readonly Series[], curves: readonly Series[]): Series {
  const anchor = named(name, series);
  if (curves.some((other) => other !== anchor && overlap(anchor, other))) return anchor;
  const ranges = curves.map((of) => `${of.name} (${rangeOf(of)})`).join(', ');
  throw new Error(
    `no curve has rates in common with ${name} (${rangeOf(anchor)}): choose another --anchor, or measure more rates; there are ${ranges}`,
  );
}

/** Entropic Student, the paper's anchor, then other baselines. */
function rank(of: Series): number {
  if (of.method === 'entropic-student') return 0;
  return isBaseline(of) ? 1 : 2;
}

/** The one that most others have rates in common with, of the first rank that has any. */
function bestAnchor(curves: readonly Series[]): Series | undefined {
  const known = (of: Series): number => curves.filter((other) => other !== of && overlap(of, other)).length;
  return curves.filter((of) => known(of) > 0).toSorted((a, b) => rank(a) - rank(b) || known(b) - known(a))[0];
}

/**
 * Of ours the most accurate at the rates of comparison; those that it does not reach count as none right. Where none
 * reaches any: the most accurate.
 */
function bestSubject(
  own: readonly Series[],
  series: readonly Series[],
  resamples: Analysis['resamples'],
): Series {
  const raccoon = own.filter(({ method }) => method.startsWith('raccoon'));
  const candidates = [raccoon, own, series].find((some) => some.length > 0)!;
  const sums = new Map(
    candidates.map((of) => [
      of,
      RATES.reduce((sum, rate) => sum + (atRate(of, rate, resamples)?.top1 ?? 0), 0),
    ]),
  );
  return candidates.toSorted((a, b) => sums.get(b)! - sums.get(a)! || bestTop1(b) - bestTop1(a))[0]!;
}

function bestTop1({ points }: Series): number {
  return Math.max(...points.map(({ row }) => row.top1));
}

function overlap(a: Series, b: Series): Rates | undefined {
  const rates = intersection(ratesOf(a), ratesOf(b));
  return rates.low < rates.high ? rates : undefined;
}

function rangeOf(of: Series): string {
  const { low, high } = ratesOf(of);
  return `${low.toFixed(3)} to ${high.toFixed(3)} bpp`;
}

function mostCommon(values: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts.entries()].toSorted((a, b) => b[1] - a[1])[0]![0];
}
