import type { PhotoOutcome } from './evaluate.ts';
import { isClean, parseResults, type ResultRow } from './results.ts';

/** A rate-accuracy curve: points by rising rate. */
export interface Curve {
  /** For messages: the file, and the curve's name in it. */
  name: string;
  points: CurvePoint[];
}

export interface CurvePoint {
  bpp: number;
  /** percent */
  top1: number;
  /** What became of every photo, where it was recorded. */
  photos?: readonly PhotoOutcome[];
}

/** A row of `raccoon eval --json`, as far as it matters here. */
interface EvaluationRow {
  n: number;
  precision?: string;
  payloadBpp: number;
  top1: number;
  photos?: readonly PhotoOutcome[];
}

interface PlainCurve {
  bpp: number[];
  top1: number[];
}

/**
 * The curves in a JSON document, in any of the layouts that people have:
 * - `{"bpp": [...], "top1": [...]}`, in percent; where no top1 is above 1 they are shares, as in the files of the paper's
 *   release, and become percent;
 * - `{"curves": {"<name>": {"bpp", "top1"}}}`;
 * - what `raccoon eval --out` writes: one curve for each series that has several rates, called as it is, `webp effort=4`;
 * - what `raccoon eval --json` writes: one curve for each n and precision, called `n=8` or `n=8 int8`.
 * @param origin for messages
 * @throws Error naming what is wrong
 */
export function readCurves(json: unknown, origin: string): Curve[] {
  const value = json as Partial<PlainCurve> & {
    curves?: Record<string, PlainCurve>;
    points?: EvaluationRow[];
    format?: string;
  };
  if (value?.format === 'raccoon-results')
    return fromSeries(parseResults(value, origin).rows.filter(isClean), origin);
  if (Array.isArray(value?.points)) return fromRows(value.points, origin);
  if (value?.curves && typeof value.curves === 'object') {
    return Object.entries(value.curves).map(([name, curve]) => plain(curve, `${origin}#${name}`));
  }
  return [plain(value as PlainCurve, origin)];
}

/**
 * The one curve of `curves` that was asked for.
 * @param name what follows the # in the curve's name; absent: the only one
 * @throws Error listing what there is
 */
export function chooseCurve(curves: readonly Curve[], origin: string, name?: string): Curve {
  const wanted = name === undefined ? undefined : `${origin}#${name}`;
  const found = wanted === undefined ? curves : curves.filter((curve) => curve.name === wanted);
  if (found.length === 1) return found[0]!;
  const names = curves.map((curve) => curve.name.slice(origin.length + 1)).join(', ');
  throw new Error(
    wanted === undefined
      ? `${origin} has ${curves.length} curves: choose one, ${origin}#<name>, of ${names}`
      : `${origin} has no curve ${name}; it has ${names}`,
  );
}

function fromRows(rows: readonly EvaluationRow[], origin: string): Curve[] {
  const curves = new Map<string, Curve>();
  for (const { n, precision = 'float32', payloadBpp, top1, photos } of rows) {
    const name = `${origin}#n=${n}${precision === 'float32' ? '' : ` ${precision}`}`;
    const curve = curves.get(name) ?? { name, points: [] };
    curve.points.push({ bpp: payloadBpp, top1, ...(photos && { photos }) });
    curves.set(name, curve);
  }
  return [...curves.values()].map(checked);
}

/** Rows that send nothing, and series of one rate, are no curves. */
function fromSeries(rows: readonly ResultRow[], origin: string): Curve[] {
  const curves = new Map<string, Curve>();
  for (const { series, payloadBpp, top1, photos } of rows) {
    if (payloadBpp === 0) continue;
    const curve = curves.get(series) ?? { name: `${origin}#${series}`, points: [] };
    curve.points.push({ bpp: payloadBpp, top1, ...(photos && { photos }) });
    curves.set(series, curve);
  }
  return [...curves.values()].filter(({ points }) => points.length > 1).map(checked);
}

function plain(curve: PlainCurve | null, name: string): Curve {
  const { bpp, top1 } = curve ?? {};
  if (!Array.isArray(bpp) || !Array.isArray(top1) || bpp.length !== top1.length) {
    throw new Error(
      `${name} is no curve: {"bpp": [...], "top1": [...]}, as many of one as of the other, is one`,
    );
  }
  const scale = top1.every((share) => share <= 1) ? 100 : 1;
  return checked({ name, points: bpp.map((rate, i) => ({ bpp: rate, top1: scale * top1[i]! })) });
}

function checked({ name, points }: Curve): Curve {
  for (const { bpp, top1 } of points) {
    const good = Number.isFinite(bpp) && bpp > 0 && Number.isFinite(top1) && top1 >= 0 && top1 <= 100;
    if (!good) throw new Error(`${name}: ${top1} % at ${bpp} bpp is no point of a curve`);
  }
  const sorted = points.toSorted((a, b) => a.bpp - b.bpp);
  const twice = sorted.find(({ bpp }, i) => bpp === sorted[i + 1]?.bpp);
  if (twice) throw new Error(`${name} has two points at ${twice.bpp} bpp`);
  if (sorted.length < 2) throw new Error(`${name} has ${sorted.length} point: a curve has two at least`);
  return { name, points: sorted };
}
