import { mean } from '../ranking.ts';
import type { ResultRow } from '../results.ts';
import type { CollectedFile } from './collect.ts';

/** One setting of one method. What differs in the seed alone is one point. */
export interface Point {
  /** Means over the seeds, without photos. */
  row: ResultRow;
  /** As measured, one for each seed. */
  seeds: readonly ResultRow[];
  /** Of top-1 over the seeds, percent; null with one. */
  spread: { deviation: number; low: number; high: number } | null;
  /** Processor and threads that its times are of. */
  machine: string;
}

/** A rate-accuracy curve; or one point, of what has no rates. */
export interface Series {
  name: string;
  method: string;
  /** By rising rate. */
  points: readonly Point[];
}

/** What a method is compared with: never what a report is about. */
const BASELINE = /^(entropic-student|jpeg|webp|avif|raw|unsplit)/;

/** In the order of reports, each with its colour, which is the same in every report; all others stand behind ours. */
const FAMILIES = [
  { method: /^raccoon/, colour: 0 },
  { method: /^entropic-student/, colour: 3 },
  { method: /^jpeg/, colour: 1 },
  { method: /^webp/, colour: 4 },
  { method: /^avif/, colour: 5 },
  { method: /^raw/, colour: 6 },
  { method: /^unsplit/, colour: 7 },
] as const;

export const isBaseline = ({ method }: Series): boolean => BASELINE.test(method);

/** A curve has several rates. */
export const isCurve = ({ points }: Series): boolean => points.length > 1;

/** Of the palette; undefined for a method that has none of its own. */
export function colourOf({ method }: Pick<Series, 'method'>): number | undefined {
  return FAMILIES.find((family) => family.method.test(method))?.colour;
}

/** Ours, then what nobody knows, then baselines. */
function placeOf({ method }: Series): number {
  const family = FAMILIES.findIndex((one) => one.method.test(method));
  return family < 0 ? 0.5 : family;
}

/** Of processor and threads: times of two of them are not to be compared. */
export function machineOf({ results: { environment } }: CollectedFile): string {
  return `${environment.cpu}, ${environment.threads} thread${environment.threads > 1 ? 's' : ''}`;
}

/**
 * The series of all files, always in the same order. Of what was measured twice the newest counts. Where two networks
 * have the same series, all series are called by their network's name as well.
 */
export function seriesOf(files: readonly CollectedFile[]): Series[] {
  const newest = files.toSorted((a, b) => (a.results.createdAt < b.results.createdAt ? -1 : 1));
  const bundlesOf = new Map<string, Set<string>>();
  for (const { results } of newest) {
    for (const row of results.rows) {
      const key = keyOf(row);
      bundlesOf.set(key, (bundlesOf.get(key) ?? new Set()).add(bundleName(results)));
    }
  }
  const named = [...bundlesOf.values()].some((names) => names.size > 1);

  const rows = new Map<string, { row: ResultRow; machine: string }>();
  for (const file of newest) {
    const prefix = named ? `${bundleName(file.results)}: ` : '';
    for (const row of file.results.rows) {
      const series = prefix + row.series;
      rows.set(prefix + keyOf(row), { row: { ...row, series }, machine: machineOf(file) });
    }
  }
  const points = grouped([...rows.values()], ({ row }) => keyOf(row, 'seedless'));
  const series = grouped([...points.values()].map(pointOf), ({ row }) => row.series);
  return [...series.entries()]
    .map(([name, all]): Series => {
      const byRate = all.toSorted((a, b) => a.row.payloadBpp - b.row.payloadBpp);
      return { name, method: byRate[0]!.row.method, points: byRate };
    })
    .toSorted((a, b) => placeOf(a) - placeOf(b) || a.name.localeCompare(b.name, 'en', { numeric: true }));
}

/** By key, in the order of their first ones. */
function grouped<T>(items: readonly T[], keyFor: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyFor(item));
    if (group) group.push(item);
    else groups.set(keyFor(item), [item]);
  }
  return groups;
}

/** With its version. */
export function bundleName({ bundle }: CollectedFile['results']): string {
  return `${bundle.name} ${bundle.version}`;
}

/** The same for the same setting. */
function keyOf({ method, series, point, settings }: ResultRow, seeds?: 'seedless'): string {
  const kept = Object.entries(settings)
    .filter(([name]) => !seeds || name !== 'seed')
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([method, series, seeds ? withoutSeed(point) : point, kept]);
}

export const withoutSeed = (point: string): string => point.replace(/[-_, ]*\bseed[-_= ]?\d+/, '');

function pointOf(rows: readonly { row: ResultRow; machine: string }[]): Point {
  const seeds = rows.map(({ row }) => row);
  const { photos: _, top1Interval, bytes, exitTop1: __, ...first } = seeds[0]!;
  const top1 = seeds.map((row) => row.top1);
  const average = mean(top1);
  const over = (of: (row: ResultRow) => number | null): number | null => {
    const values = seeds.map(of);
    return values.every((value) => value !== null) ? mean(values) : null;
  };
  const always = (of: (row: ResultRow) => number): number => mean(seeds.map(of));
  const several = seeds.length > 1;
  const { energyMillijoule: energy, encodeMs } = first;
  const row: ResultRow = {
    ...first,
    ...(!several && { top1Interval, bytes }),
    point: several ? withoutSeed(first.point) : first.point,
    top1: average,
    top5: always((of) => of.top5),
    payloadBpp: always((of) => of.payloadBpp),
    wireBpp: over((of) => of.wireBpp),
    bytesPerImage: always((of) => of.bytesPerImage),
    encodeMs: encodeMs && {
      p50: over((of) => of.encodeMs?.p50 ?? null) ?? encodeMs.p50,
      p95: over((of) => of.encodeMs?.p95 ?? null) ?? encodeMs.p95,
    },
    entropyMs: over((of) => of.entropyMs),
    cloudMs: over((of) => of.cloudMs),
    edgeMacs: over((of) => of.edgeMacs),
    edgeParameters: over((of) => of.edgeParameters),
    peakMemoryMiB: over((of) => of.peakMemoryMiB),
    energyMillijoule: energy && {
      value: over((of) => of.energyMillijoule?.value ?? null) ?? energy.value,
      source: energy.source,
    },
  };
  const spread = {
    deviation: Math.sqrt(top1.reduce((sum, value) => sum + (value - average) ** 2, 0) / (top1.length - 1)),
    low: Math.min(...top1),
    high: Math.max(...top1),
  };
  return { row, seeds, spread: several ? spread : null, machine: rows[0]!.machine };
}
