import type { ResultRow } from '../results.ts';
import type { CollectedFile } from './collect.ts';
import { bundleName, withoutSeed } from './series.ts';

/** One setting of one method on the same photos with more and more noise. */
export interface NoiseCurve {
  /** `raccoon n=8 q=3` */
  name: string;
  method: string;
  /** By rising noise, from 0 where that was measured; deviation on values from 0 to 1. Of several seeds one counts. */
  levels: readonly { sigma: number; row: ResultRow }[];
}

/** Of every setting that was measured with noise, always in the same order; of what was measured twice the newest counts. */
export function noiseCurves(files: readonly CollectedFile[]): NoiseCurve[] {
  const several = new Set(files.map(({ results }) => bundleName(results))).size > 1;
  const curves = new Map<string, { method: string; levels: Map<number, ResultRow> }>();
  for (const { results } of files.toSorted((a, b) => (a.results.createdAt < b.results.createdAt ? -1 : 1))) {
    for (const row of results.rows) {
      const name = `${several ? `${bundleName(results)}: ` : ''}${row.series} ${withoutSeed(row.point)}`;
      const curve = curves.get(name) ?? { method: row.method, levels: new Map<number, ResultRow>() };
      curves.set(name, curve);
      curve.levels.set(Number(row.settings['noise'] ?? 0), row);
    }
  }
  return [...curves.entries()]
    .filter(([, { levels }]) => [...levels.keys()].some((sigma) => sigma > 0))
    .map(([name, { method, levels }]) => ({
      name,
      method,
      levels: [...levels.entries()]
        .map(([sigma, row]) => ({ sigma, row }))
        .toSorted((a, b) => a.sigma - b.sigma),
    }))
    .toSorted((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}
