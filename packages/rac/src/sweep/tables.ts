import type { Curve } from '../curve.ts';
import { delta, type Delta } from '../delta.ts';
import type { ResultRow } from '../results.ts';
import type { Spec } from './spec.ts';
import type { SweepStore } from './store.ts';
import type { Trial } from './trials.ts';

const FITS = ['meanPoly4', 'meanLinear', 'meanPchip', 'meanLogBpp', 'bdRatePercent'] as const;

interface SeedCurve {
  series: string;
  seed: number;
  rows: ResultRow[];
}

/**
 * What a report does not have, as Markdown: Delta-accuracy against the spec's anchor for every seed alone, in every
 * definition, with mean and spread; what the edge and the training cost.
 */
export function studyTables(spec: Spec, trials: readonly Trial[], store: SweepStore): string {
  const results = trials.map((trial) => store.results(trial));
  const finished = results.filter((one) => one !== undefined).length;
  const curves = curvesOf(results.flatMap((one) => one?.rows ?? []));
  const first = results.find((one) => one !== undefined);
  const data = first ? `, ${first.data.images} photos of ${first.data.name}` : '';
  return [
    `${spec.name}: ${finished} of ${trials.length} trials finished${data}; measured\n`,
    ...(curves.length === 0 ? [] : [costTable(curves), deltaTable(curves, spec.anchor)]),
  ].join('\n');
}

function curvesOf(rows: readonly ResultRow[]): SeedCurve[] {
  const curves = new Map<string, SeedCurve>();
  for (const row of rows) {
    const seed = Number(row.settings['seed']);
    const key = `${row.series}\n${seed}`;
    const curve = curves.get(key) ?? { series: row.series, seed, rows: [] };
    curve.rows.push(row);
    curves.set(key, curve);
  }
  for (const { rows: own } of curves.values()) own.sort((a, b) => a.payloadBpp - b.payloadBpp);
  return [...curves.values()];
}

function costTable(curves: readonly SeedCurve[]): string {
  return markdown(
    'Top-1 at bpp of every point, what the edge pays for an image, and what was paid for learning (all networks of the curve)',
    ['', 'seed', 'top-1 % at bpp', 'edge M MAC', 'images learned from', 'training, 10^12 MAC'],
    curves.map(({ series, seed, rows }) => {
      const trained = new Map(
        rows.map(({ settings }) => [JSON.stringify([settings['lambda'], settings['rateTarget']]), settings]),
      );
      const sum = (name: string): number =>
        [...trained.values()].reduce((all, one) => all + Number(one[name]), 0);
      return [
        series,
        String(seed),
        rows.map(({ top1, payloadBpp }) => `${top1.toFixed(1)} at ${payloadBpp.toFixed(3)}`).join(', '),
        ((rows[0]!.edgeMacs ?? 0) / 1e6).toFixed(0),
        `${sum('trainImages').toLocaleString('en')}${trained.size > 1 ? ` (${trained.size} networks)` : ''}`,
        (sum('trainMacs') / 1e12).toFixed(0),
      ];
    }),
  );
}

function deltaTable(curves: readonly SeedCurve[], anchor: string): string {
  const names = [...new Set(curves.map(({ series }) => series))].filter((name) => name !== anchor);
  const rows = names.flatMap((name) => {
    const own = curves.filter(({ series }) => series === name);
    const found = own.flatMap(({ seed, rows: points }): { seed: number; delta: Delta }[] => {
      const partner = curves.find((one) => one.series === anchor && one.seed === seed);
      const difference = partner && differenceOf(partner.rows, points);
      return difference ? [{ seed, delta: difference }] : [];
    });
    if (found.length === 0) return [[name, '-', 'no rates in common', ...FITS.map(() => '-')]];
    const each = found.map(({ seed, delta: one }) => [
      name,
      String(seed),
      overlap(one),
      ...FITS.map((fit) => signed(one[fit])),
    ]);
    if (found.length === 1) return each;
    const spread = FITS.map((fit) => {
      const values = found.map(({ delta: one }) => one[fit]).filter((value) => value !== null);
      if (values.length < found.length) return '-';
      const average = values.reduce((sum, value) => sum + value, 0) / values.length;
      return `${signed(average)} (${signed(Math.min(...values))} to ${signed(Math.max(...values))})`;
    });
    return [...each, [`**${name}**`, 'mean', '', ...spread]];
  });
  return markdown(
    `Delta-accuracy against ${anchor}, points of top-1, each seed against the anchor of the same seed; mean and spread over seeds. bdRatePercent: bytes for the same accuracy. With intervals over the photos: raccoon report`,
    ['', 'seed', 'overlap, bpp', ...FITS],
    rows,
  );
}

function differenceOf(anchor: readonly ResultRow[], test: readonly ResultRow[]): Delta | undefined {
  if (anchor.length < 2 || test.length < 2) return undefined;
  try {
    return delta(curveOf('anchor', anchor), curveOf('test', test));
  } catch {
    return undefined; // no rates in common
  }
}

const curveOf = (name: string, rows: readonly ResultRow[]): Curve => ({
  name,
  points: rows.map(({ payloadBpp, top1 }) => ({ bpp: payloadBpp, top1 })),
});

const signed = (value: number | null): string =>
  value === null ? '-' : `${value < 0 ? '' : '+'}${value.toFixed(2)}`;

function markdown(caption: string, head: readonly string[], rows: readonly string[][]): string {
  return `${caption}\n\n${[line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

const overlap = (one: Delta): string => one.overlap.map((bpp) => bpp.toFixed(2)).join(' to ');
