import type { ResultRow } from '../results.ts';
import type { Point, Series } from './series.ts';

/** What a point costs at the edge; null where it is not known. */
export type Cost = (row: ResultRow) => number | null;

export interface ParetoPoint {
  series: Series;
  point: Point;
  cost: number;
}

/**
 * Points that no other one is at least as good as in rate, top-1 and cost at once, and better in one of them: by what was
 * measured, whether or not another sample of photos would say the same. By rising rate.
 */
export function paretoSet(series: readonly Series[], costOf: Cost): ParetoPoint[] {
  const all = series.flatMap((of) =>
    of.points.flatMap((point): ParetoPoint[] => {
      const cost = costOf(point.row);
      return cost === null ? [] : [{ series: of, point, cost }];
    }),
  );
  return all
    .filter((one) => !all.some((other) => dominates(other, one)))
    .toSorted((a, b) => a.point.row.payloadBpp - b.point.row.payloadBpp || a.cost - b.cost);
}

function dominates(a: ParetoPoint, b: ParetoPoint): boolean {
  const [x, y] = [a.point.row, b.point.row];
  const gains = [y.payloadBpp - x.payloadBpp, x.top1 - y.top1, b.cost - a.cost];
  return gains.every((gain) => gain >= 0) && gains.some((gain) => gain > 0);
}
