import { fastestRow, type DeviceProfile } from '@raccoon/edge';
import type { Bundle, Precision } from '@raccoon/bundle';
import type { Axis, Bars, Plot, PlotPoint, PlotSeries } from '../plot.ts';
import type { Analysis } from './analysis.ts';
import { top1Interval } from './bands.ts';
import { fixed, macs, ms, range, signed, whole } from './format.ts';
import type { NoiseCurve } from './noise.ts';
import type { ParetoPoint } from './pareto.ts';
import type { PublishedCurves } from './published.ts';
import { colourOf, type Point, type Series } from './series.ts';
import { RATES } from './versus.ts';

/** px: a phone shows it at its size. */
const SIZE = { width: 400, height: 270, onPage: true } as const;

const RATE: Axis = { title: 'rate (bits per pixel)', scale: 'log' };
const TOP1: Axis = { title: 'top-1 (%)' };

/** A frame for curves: rates far above the subject's would squeeze everything else. */
export const MOST_OF_SUBJECT = 2.5;

/** Top-1 over rate, with bands; methods without rates as a level or a point. */
export function rateAccuracyPlot(title: string, series: readonly Series[], analysis: Analysis): Plot {
  const most = MOST_OF_SUBJECT * analysis.subject.points.at(-1)!.row.payloadBpp;
  const looks = looksOf(series);
  return {
    ...SIZE,
    title,
    x: RATE,
    y: TOP1,
    series: series.flatMap((of, i): PlotSeries[] => {
      const points = of.points
        .filter(({ row }) => row.payloadBpp <= most)
        .map((point) => accuracyPoint(of, point, analysis));
      const level = of.points.every(({ row }) => row.payloadBpp === 0);
      const as = level ? 'level' : points.length > 1 ? 'line' : 'points';
      return points.length === 0 ? [] : [{ name: of.name, points, as, ...looks[i]! }];
    }),
  };
}

/** Delta-accuracy against the anchor over a cost; series without either are not there. */
export function racPlot(
  title: string,
  x: Axis,
  costOf: (series: Series) => number | null,
  { series, anchor, anchorDeltas }: Analysis,
): Plot | undefined {
  const shown = series.flatMap((of): { of: Series; point: PlotPoint }[] => {
    const found = anchorDeltas.find(({ subject }) => subject === of.name);
    const cost = costOf(of);
    if (cost === null || cost <= 0) return [];
    if (of === anchor) return [{ of, point: { x: cost, y: 0, label: `${of.name}: the anchor` } }];
    if (!found) return [];
    const { meanPchip: y } = found.delta;
    const spread = found.intervals.meanPchip;
    const text = `${of.name}: ${signed(y)}${spread ? ` (${range(spread, 1, true)})` : ''} at ${fixed(cost, 2)}`;
    return [{ of, point: { x: cost, y, ...spread, label: text } }];
  });
  if (shown.length < 2) return undefined;
  const looks = looksOf(shown.map(({ of }) => of));
  const costs = shown.map(({ point }) => point.x);
  const wide = Math.max(...costs) > 5 * Math.min(...costs);
  return {
    ...SIZE,
    title,
    x: { ...x, ...(wide ? { scale: 'log' as const } : { zero: true }) },
    y: { title: 'Δ-accuracy (points)' },
    series: shown.map(({ of, point }, i) => ({ name: of.name, points: [point], as: 'points', ...looks[i]! })),
  };
}

/** Mean of the points' medians, where all of them are of the machine that is compared. */
export function encodeMsOf({ points }: Series, machine: string): number | null {
  const times = points.map((point) => (point.machine === machine ? point.row.encodeMs?.p50 : undefined));
  if (!times.every((time) => time !== undefined)) return null;
  return times.reduce((sum, time) => sum + time, 0) / times.length;
}

export function edgeMacsOf({ points }: Series): number | null {
  return points[0]!.row.edgeMacs;
}

/** Pixels to bytes by a series' encoder on another device, ms; null where it was not measured there. */
export function deviceMsOf({ points }: Series, profile: DeviceProfile): number | null {
  const { n, precision } = points[0]!.row.settings;
  if (typeof n !== 'number' || !points[0]!.row.method.startsWith('raccoon')) return null;
  const row = fastestRow(profile, n, (precision ?? 'float32') as Precision);
  return row ? row.encoderMs.p50 + row.codecMs.p50 : null;
}

export function paretoPlot(
  title: string,
  pareto: readonly ParetoPoint[],
  cost: (value: number) => string,
): Plot {
  const series = [...new Set(pareto.map((one) => one.series.name))].map(
    (name) => pareto.find((one) => one.series.name === name)!.series,
  );
  const looks = looksOf(series);
  return {
    ...SIZE,
    title,
    x: RATE,
    y: TOP1,
    series: series.map((of, i) => ({
      name: of.name,
      as: 'points',
      points: pareto
        .filter((one) => one.series.name === of.name && one.point.row.payloadBpp > 0)
        .map(({ point: { row }, cost: value }) => ({
          x: row.payloadBpp,
          y: row.top1,
          label: `${of.name} ${row.point}: ${fixed(row.top1, 1)} % at ${fixed(row.payloadBpp, 3)} bpp, ${cost(value)}`,
        })),
      ...looks[i]!,
    })),
  };
}

/** The points of a series next to the rates at which methods are compared: each once. */
export function pointsNearRates({ points }: Series): Point[] {
  const sent = points.filter(({ row }) => row.payloadBpp > 0);
  return [
    ...new Set(RATES.flatMap((rate) => sent.toSorted((a, b) => far(a, rate) - far(b, rate)).slice(0, 1))),
  ];
}

/** How far a point is from a rate, in ln bpp; what sends nothing is far from all. */
export function far({ row }: Point, rate: number): number {
  return Math.abs(Math.log(Math.max(row.payloadBpp, 1e-3) / rate));
}

const BINS = 28;

/** Shares of photos over their bytes, in bins of equal width on a logarithmic axis. */
export function bytesPlot(title: string, points: readonly Point[]): Plot | undefined {
  const all = points.flatMap((point) => {
    const bytes = point.seeds.flatMap(({ photos }) => (photos ?? []).map((photo) => photo.bytes));
    return bytes.length > 0 ? [{ point, bytes }] : [];
  });
  if (all.length === 0) return undefined;
  const logs = all.flatMap(({ bytes }) => bytes.map(Math.log));
  const low = logs.reduce((least, value) => Math.min(least, value), Infinity);
  const high = logs.reduce((most, value) => Math.max(most, value), -Infinity);
  const width = Math.max(high - low, 0.1) / BINS;
  return {
    ...SIZE,
    title,
    x: { title: 'bytes of one photo', scale: 'log' },
    y: { title: 'photos (%)', zero: true },
    series: all.map(({ point, bytes }) => {
      const counts = Array.from({ length: BINS + 1 }, () => 0);
      for (const value of bytes) counts[Math.min(BINS - 1, Math.floor((Math.log(value) - low) / width))]!++;
      return {
        name: `${point.row.point}, ${fixed(point.row.payloadBpp, 2)} bpp`,
        as: 'steps',
        points: counts.map((count, i) => ({ x: Math.exp(low + i * width), y: (100 * count) / bytes.length })),
      };
    }),
  };
}

/** Bits of every channel by the tables' own distributions, at the rates of one depth. */
export function channelsPlot(title: string, { manifest, codec }: Bundle, n: number): Plot | undefined {
  const { channels, height, width } = manifest.latent;
  const { tables } = codec;
  const points = manifest.points.flatMap(({ n: depth, q, precision = 'float32' }, p) =>
    depth === n && precision === 'float32' ? [{ q, p }] : [],
  );
  if (points.length === 0) return undefined;
  return {
    ...SIZE,
    title,
    x: { title: 'channel' },
    y: { title: 'bits per image', zero: true },
    series: points.map(({ q, p }) => ({
      name: `q=${q}`,
      as: 'steps',
      points: Array.from({ length: channels }, (_, c) => ({
        x: c,
        y:
          height * width * entropy(tables.tables.distribution(tables.tableOf[p * channels + c]!).frequencies),
      })),
    })),
  };
}

/** The parts of one image's time. */
export const LATENCY_PARTS: readonly string[] = [
  'edge: encoding',
  'edge: entropy coding',
  'link, 1 Mbit/s',
  'cloud',
];

/** ms of `LATENCY_PARTS`; null where times were not measured. The link's is worked out from the bytes on it. */
export function latencyOf({ row }: Point): number[] | null {
  if (!row.encodeMs) return null;
  const entropyMs = row.entropyMs ?? 0;
  const onWire = row.payloadBpp > 0 ? (row.wireBpp ?? row.payloadBpp) / row.payloadBpp : 0;
  const linkMs = (8 * row.bytesPerImage * onWire) / 1000;
  return [Math.max(0, row.encodeMs.p50 - entropyMs), entropyMs, linkMs, row.cloudMs ?? 0];
}

export function latencyBars(title: string, bars: Bars['bars']): Bars {
  return { title, width: SIZE.width, x: { title: 'time of one image (ms)' }, bars, parts: LATENCY_PARTS };
}

export function publishedPlot({ curves }: PublishedCurves): Plot {
  return {
    ...SIZE,
    title: 'published, ImageNet-1k',
    x: RATE,
    y: TOP1,
    series: curves.map(({ label, points }) => ({
      name: label,
      points: points.map(({ bpp, top1 }) => ({ x: bpp, y: top1 })),
    })),
  };
}

/** Top-1 over the standard deviation of noise. */
export function noisePlot(title: string, curves: readonly NoiseCurve[]): Plot {
  const looks = looksOf(curves);
  return {
    ...SIZE,
    title,
    x: { title: 'σ of the noise, values from 0 to 1', zero: true },
    y: { ...TOP1, zero: true },
    series: curves.map(({ name, levels }, i) => ({
      name,
      points: levels.map(({ sigma, row: { top1, top1Interval: interval, payloadBpp } }) => ({
        x: sigma,
        y: top1,
        ...(interval && { low: interval[0], high: interval[1] }),
        label: `${name}, σ = ${sigma}: ${fixed(top1, 1)} % at ${fixed(payloadBpp, 3)} bpp`,
      })),
      ...looks[i]!,
    })),
  };
}

function accuracyPoint(series: Series, point: Point, { resamples }: Analysis): PlotPoint {
  const { row } = point;
  const spread = top1Interval(point, resamples.get(point)!);
  const { low = spread.low, high = spread.high } = point.spread ?? {};
  return {
    x: row.payloadBpp,
    y: row.top1,
    low: Math.min(low, spread.low),
    high: Math.max(high, spread.high),
    label: `${series.name} ${row.point}: ${fixed(row.top1, 1)} % (${range(spread)}${point.spread ? `; seeds ${range(point.spread)}` : ''}) at ${fixed(row.payloadBpp, 3)} bpp, ${whole(row.bytesPerImage)} bytes${row.encodeMs ? `, ${ms(row.encodeMs.p50)} ms` : ''}${row.edgeMacs === null ? '' : `, ${macs(row.edgeMacs)}MAC`}`,
  };
}

/**
 * A method has its colour, and its series a shape each; methods without a colour of their own take what is left of the
 * palette. Where there is one method only, its series have colours.
 */
function looksOf(series: readonly Pick<Series, 'method'>[]): { colour: number; shape: number }[] {
  const methods = [...new Set(series.map(({ method }) => method))];
  if (methods.length === 1) return series.map((_, i) => ({ colour: i, shape: i }));
  const taken = new Set(methods.map((method) => colourOf({ method })));
  const free = PALETTE.filter((colour) => !taken.has(colour));
  const foreign = methods.filter((method) => colourOf({ method }) === undefined);
  const colours = series.map((of) => colourOf(of) ?? free[foreign.indexOf(of.method) % free.length]!);
  return colours.map((colour, i) => ({
    colour,
    shape: colours.slice(0, i).filter((other) => other === colour).length,
  }));
}

/** Indices of the plot's colours: strong ones first. */
const PALETTE = [2, 1, 3, 0, 4, 5, 6, 7];

/** Bits per symbol. */
function entropy(frequencies: Uint16Array): number {
  let bits = 0;
  for (const frequency of frequencies) {
    if (frequency > 0) bits += (frequency / 65536) * Math.log2(65536 / frequency);
  }
  return bits;
}
