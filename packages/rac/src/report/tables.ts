import { quantile } from '../ranking.ts';
import type { ResultRow } from '../results.ts';
import type { Analysis } from './analysis.ts';
import { top1Interval } from './bands.ts';
import type { Table } from './document.ts';
import { bpp, fixed, macs, ms, NONE, orNone, range, signed, whole } from './format.ts';
import type { NoiseCurve } from './noise.ts';
import type { ParetoPoint } from './pareto.ts';
import { edgeMacsOf, encodeMsOf, LATENCY_PARTS, latencyOf } from './plots.ts';
import type { PublishedCurves } from './published.ts';
import type { Point, Series } from './series.ts';
import { RATES, type CurveDifference, type RateDifference } from './versus.ts';

/** Every point as it was measured. */
export function pointsTable({ series, resamples, machine }: Analysis): Table {
  const binomial = '†';
  const rows = series.flatMap((of) =>
    of.points.map((point) => {
      const { row } = point;
      const resampled = resamples.get(point)!;
      return [
        of.name,
        row.point,
        `${fixed(row.top1, 1)}${point.spread ? ` ± ${fixed(point.spread.deviation, 1)} (${point.seeds.length} seeds)` : ''}`,
        range(top1Interval(point, resampled)) + (resampled.by === 'binomial' ? binomial : ''),
        fixed(row.top5, 1),
        bpp(row.payloadBpp),
        orNone(row.wireBpp, bpp),
        whole(row.bytesPerImage),
        encodeCell(point, machine),
        orNone(row.edgeMacs, macs),
      ];
    }),
  );
  const some = series.some(({ points }) => points.some((point) => resamples.get(point)!.by === 'binomial'));
  return {
    caption: `Every point, measured. Intervals: 95 %, by a bootstrap over the photos${some ? `; ${binomial} binomial, where what became of each photo was not kept` : ''}. Encoding is from pixels of the network’s size to bytes, median and 95 % quantile${series.some(({ points }) => points.some(({ spread }) => spread)) ? '; ±: standard deviation over seeds' : ''}.`,
    head: [
      'series',
      'point',
      'top-1 %',
      '95 % interval',
      'top-5 %',
      'bpp',
      'wire bpp',
      'bytes',
      'encode ms',
      'edge MAC',
    ],
    rows,
    words: 2,
  };
}

function encodeCell({ row: { encodeMs }, machine }: Point, here: string): string {
  const other = machine === here ? '' : ' (other machine)';
  return orNone(encodeMs, ({ p50, p95 }) => `${ms(p50)} / ${ms(p95)}${other}`);
}

/** Top-1 and rate of every setting at every strength of noise. */
export function noiseTable(curves: readonly NoiseCurve[]): Table {
  const sigmas = [...new Set(curves.flatMap(({ levels }) => levels.map(({ sigma }) => sigma)))].toSorted(
    (a, b) => a - b,
  );
  return {
    caption: 'Top-1 in percent, and bits per pixel, by σ; measured.',
    head: ['', ...sigmas.map((sigma) => `σ = ${sigma}`)],
    rows: curves.map(({ name, levels }) => [
      name,
      ...sigmas.map((sigma) => {
        const row = levels.find((level) => level.sigma === sigma)?.row;
        return orNone(row, ({ top1, payloadBpp }) => `${fixed(top1, 1)} at ${bpp(payloadBpp)}`);
      }),
    ]),
  };
}

/** A difference, whose interval says whether it is one. */
export function verdictOf({ difference }: RateDifference): 'ahead' | 'behind' | 'even' | undefined {
  if (!difference) return undefined;
  return difference.low > 0 ? 'ahead' : difference.high < 0 ? 'behind' : 'even';
}

const MARKS = { ahead: '▲', behind: '▼', even: '≈' };

/** The subject against everything else, at each rate. */
export function versusTable(analysis: Analysis): Table {
  const { subject, others, differences } = analysis;
  const at = (other: Series, rate: number): RateDifference =>
    differences.find((one) => one.subject === subject.name && one.other === other.name && one.rate === rate)!;
  const first = RATES.map((rate) =>
    differences.find((one) => one.subject === subject.name && one.rate === rate),
  );
  return {
    caption: `${subject.name} less each other at so many bits per pixel, in points of top-1, with 95 % intervals by ${howOf(analysis)}. ${MARKS.ahead} ahead, ${MARKS.behind} behind, ${MARKS.even} the interval has zero in it. Measured; between points, straight lines in ln bpp.`,
    head: ['', ...RATES.map((rate) => `${rate} bpp`)],
    rows: [
      [
        `${subject.name}, top-1 %`,
        ...first.map((one) =>
          orNone(one?.subjectAt, (of) => `${fixed(of.top1, 1)}${off(of.bpp, one!.rate)}`),
        ),
      ],
      ...others.map((other) => [
        `against ${other.name}`,
        ...RATES.map((rate) => versusCell(at(other, rate), other)),
      ]),
    ],
  };
}

/** How the intervals of differences are made. */
export function howOf({ series, resamples }: Analysis): string {
  const kept = series.every(({ points }) => points.every((point) => resamples.get(point)!.by === 'photos'));
  return kept
    ? 'a paired bootstrap over the photos'
    : 'a bootstrap over the photos, paired where what became of each was kept; elsewhere binomial and unpaired, which is wider';
}

function versusCell(one: RateDifference, other: Series): string {
  if (!one.otherAt) return beyond(other, one.rate);
  const { difference, otherAt } = one;
  if (!difference) return `${NONE} (it has ${fixed(otherAt.top1, 1)})`;
  return `${MARKS[verdictOf(one)!]} ${signed(difference.mean)} (${range(difference, 1, true)})${off(otherAt.bpp, one.rate)}`;
}

/** Why a series has nothing at a rate. */
export function beyond({ points }: Series, rate: number): string {
  const [first, last] = [points[0]!, points.at(-1)!].map(({ row }) => row.payloadBpp);
  return first! > rate ? `it needs ${bpp(first!)}` : `measured to ${bpp(last!)}`;
}

/** What a point's rate is, where it is not the rate that was asked for, or nothing is sent. */
export function off(at: number, rate: number): string {
  return at === 0 || Math.abs(at / rate - 1) < 0.005 ? '' : ` [${bpp(at)}]`;
}

/** Each of our encoders against whatever baseline is best at the rate: the hardest comparison there is. */
export function bestBaselineTable({ own, series, differences }: Analysis): Table {
  const rivals = new Set(
    series
      .filter((of) => !own.includes(of) && of.points.some(({ row }) => row.payloadBpp > 0))
      .map((of) => of.name),
  );
  return {
    caption: `Each encoder less the best baseline at that rate, as above; the whole network on the edge is no baseline here. ${NONE}: the encoder has nothing there; alone: no baseline has.`,
    head: ['', ...RATES.map((rate) => `${rate} bpp`)],
    rows: own.map((of) => [
      of.name,
      ...RATES.map((rate) => {
        const all = differences.filter((one) => one.subject === of.name && one.rate === rate);
        const best = all
          .filter((one) => rivals.has(one.other) && one.otherAt)
          .toSorted((a, b) => b.otherAt!.top1 - a.otherAt!.top1)[0];
        if (!all[0]?.subjectAt) return NONE;
        if (!best) return `alone, ${fixed(all[0].subjectAt.top1, 1)} %`;
        return `${MARKS[verdictOf(best)!]} ${signed(best.difference!.mean)} (${range(best.difference!, 1, true)}) ${best.other}`;
      }),
    ]),
  };
}

/** Delta-accuracy and BD-rate. */
export function deltaTable(
  caption: string,
  head: string,
  deltas: readonly CurveDifference[],
  nameOf: (one: CurveDifference) => string,
): Table {
  return {
    caption,
    head: [
      head,
      'Δ-accuracy, mean over bpp',
      'Δ-accuracy, mean over ln bpp',
      'bytes for the same top-1, %',
      'over bpp',
    ],
    rows: deltas.map((one) => [
      nameOf(one),
      cell(one, 'meanPchip'),
      cell(one, 'meanLogBpp'),
      cell(one, 'bdRatePercent'),
      `${bpp(one.delta.overlap[0])} to ${bpp(one.delta.overlap[1])}`,
    ]),
  };
}

function cell(one: CurveDifference, key: keyof CurveDifference['intervals']): string {
  const value = one.delta[key];
  const spread = one.intervals[key];
  return value === null ? NONE : `${signed(value)}${spread ? ` (${range(spread, 1, true)})` : ''}`;
}

/** What each series takes at the edge. */
export function costTable({ series, subject, machine }: Analysis): Table {
  const reference = encodeMsOf(subject, machine);
  return {
    caption: `What it takes at the edge, measured on ${machine}: means over the points' medians; entropy coding is part of encoding; memory and energy are the most of any point. Energy is read from a counter, or modelled where it says so.`,
    head: [
      'series',
      'encode ms',
      `times ${subject.name}`,
      'entropy ms',
      'MAC',
      'parameters',
      'peak MiB',
      'energy mJ',
    ],
    rows: series.map((of) => {
      const time = encodeMsOf(of, machine);
      const energy = of.points.find(({ row }) => row.energyMillijoule)?.row.energyMillijoule;
      return [
        of.name,
        orNone(time, ms),
        time === null || !reference ? NONE : fixed(time / reference, 2),
        orNone(
          most(of, ({ entropyMs }) => entropyMs),
          ms,
        ),
        orNone(edgeMacsOf(of), macs),
        orNone(
          most(of, ({ edgeParameters }) => edgeParameters),
          whole,
        ),
        orNone(
          most(of, ({ peakMemoryMiB }) => peakMemoryMiB),
          whole,
        ),
        energy
          ? `${fixed(
              most(of, ({ energyMillijoule }) => energyMillijoule?.value ?? null)!,
              1,
            )}${energy.source === 'modelled' ? ' (modelled)' : ''}`
          : NONE,
      ];
    }),
  };
}

/** The most of any point. */
function most({ points }: Series, of: (row: ResultRow) => number | null): number | null {
  const values = points.flatMap(({ row }) => of(row) ?? []);
  return values.length > 0 ? Math.max(...values) : null;
}

/** Both Pareto sets in one table. */
export function paretoTable({ paretoByMacs, paretoByTime, machine }: Analysis): Table {
  const yes = '✓';
  const all = [...paretoByMacs, ...paretoByTime.filter(({ point }) => !isIn(paretoByMacs, point))];
  return {
    caption: `Points in either Pareto set, measured; times on ${machine}. Image codecs have no multiply-accumulates to compare.`,
    head: ['series', 'point', 'bpp', 'top-1 %', 'edge MAC', 'encode ms', 'by MAC', 'by time'],
    rows: all
      .toSorted((a, b) => a.point.row.payloadBpp - b.point.row.payloadBpp)
      .map(({ series, point }) => [
        series.name,
        point.row.point,
        bpp(point.row.payloadBpp),
        fixed(point.row.top1, 1),
        orNone(point.row.edgeMacs, macs),
        encodeCell(point, machine),
        isIn(paretoByMacs, point) ? yes : NONE,
        isIn(paretoByTime, point) ? yes : NONE,
      ]),
    words: 2,
  };
}

function isIn(pareto: readonly ParetoPoint[], point: Point): boolean {
  return pareto.some((one) => one.point === point);
}

/** How photos differ in bytes. */
export function bytesTable(points: readonly { series: Series; point: Point }[]): Table | undefined {
  const rows = points.flatMap(({ series, point }) => {
    const bytes = point.seeds.flatMap(({ photos }) => (photos ?? []).map((photo) => photo.bytes));
    if (bytes.length === 0) return [];
    const at = [0, 0.05, 0.5, 0.95, 1].map((p) => whole(quantile(bytes, p)));
    return [[series.name, point.row.point, whole(point.row.bytesPerImage), ...at]];
  });
  if (rows.length === 0) return undefined;
  return {
    caption: 'Bytes of one photo, measured, next to the rates of comparison.',
    head: ['series', 'point', 'mean', 'least', '5 %', 'median', '95 %', 'most'],
    rows,
    words: 2,
  };
}

/** Where the bytes of a series' points go; undefined where it is not known. */
export function splitTable({ name, points }: Series): Table | undefined {
  const rows = points.flatMap(({ row: { point, bytes } }) => {
    if (!bytes) return [];
    const { estimated, words, flush, header, protobuf, grpc, http2 } = bytes;
    const excess = `${signed(100 * (words / estimated - 1), 2)} %`;
    const framing = [flush, header, protobuf, grpc, http2].map((value) => fixed(value, 1));
    return [[point, fixed(estimated, 1), fixed(words, 1), excess, ...framing]];
  });
  if (rows.length === 0) return undefined;
  return {
    caption: `Where the bytes of ${name} go, means per image: the entropy coder’s words beside what its tables estimate, and what stands around them. Measured on the wire but for the estimate.`,
    head: ['point', 'estimated', 'words', 'more', 'flush', 'header', 'protobuf', 'gRPC', 'HTTP/2'],
    rows,
  };
}

export function latencyTable(points: readonly { series: Series; point: Point }[]): Table {
  return {
    caption:
      'Parts of one image’s time, ms. Encoding (median, less the entropy coding; that of image codecs is part of it) and cloud (mean, its queue included) are measured; the link is estimated from the bytes on the wire, without its round-trip time.',
    head: ['series', 'point', ...LATENCY_PARTS, 'sum'],
    rows: points.flatMap(({ series, point }) => {
      const parts = latencyOf(point);
      if (!parts) return [];
      const sum = parts.reduce((before, part) => before + part, 0);
      const [encoding, coding, ...rest] = parts;
      const edge = [ms(encoding!), point.row.entropyMs === null ? NONE : ms(coding!)];
      return [[series.name, point.row.point, ...edge, ...rest.map(ms), ms(sum)]];
    }),
    words: 2,
  };
}

export function publishedTable({ curves }: PublishedCurves): Table {
  return {
    caption: 'published, ImageNet-1k: other photos, other classes, other machines than all above',
    head: ['curve', 'bpp', 'top-1 %'],
    rows: curves.flatMap(({ label, points }) =>
      points.map((point) => [label, bpp(point.bpp), fixed(point.top1, 2)]),
    ),
  };
}
