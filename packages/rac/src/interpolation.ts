import { Matrix, solve } from 'ml-matrix';

/** A function of one variable, by its integral between two places. */
export interface Interpolant {
  integral(from: number, to: number): number;
}

/** Coefficients of a cubic from its left end, highest first. */
type Cubic = readonly [number, number, number, number];

/** Straight lines between the points. @param x rising */
export function linear(x: readonly number[], y: readonly number[]): Interpolant {
  return piecewise(
    x,
    slopes(x, y).map((slope, i): Cubic => [0, 0, slope, y[i]!]),
  );
}

/**
 * Monotone piecewise cubic Hermite interpolation (Fritsch and Butland 1984), with three-point ends: as
 * `scipy.interpolate.PchipInterpolator`.
 * @param x rising
 */
export function pchip(x: readonly number[], y: readonly number[]): Interpolant {
  const h = x.slice(1).map((right, i) => right - x[i]!);
  const delta = slopes(x, y);
  const last = x.length - 1;
  const d = x.map((_, i) => {
    if (last === 1) return delta[0]!;
    if (i === 0) return endSlope(h[0]!, h[1]!, delta[0]!, delta[1]!);
    if (i === last) return endSlope(h[last - 1]!, h[last - 2]!, delta[last - 1]!, delta[last - 2]!);
    const [before, after] = [delta[i - 1]!, delta[i]!];
    if (before * after <= 0) return 0;
    const [w1, w2] = [2 * h[i]! + h[i - 1]!, h[i]! + 2 * h[i - 1]!];
    return (w1 + w2) / (w1 / before + w2 / after);
  });
  return piecewise(
    x,
    delta.map((slope, i): Cubic => {
      const [left, right] = [d[i]!, d[i + 1]!];
      return [(left + right - 2 * slope) / h[i]! ** 2, (3 * slope - 2 * left - right) / h[i]!, left, y[i]!];
    }),
  );
}

/**
 * Least squares, as `numpy.polyfit`.
 * @returns the polynomial's value at a place; undefined where there are too few points for the degree
 */
export function polynomial(
  x: readonly number[],
  y: readonly number[],
  degree: number,
): ((x: number) => number) | undefined {
  if (x.length <= degree) return undefined;
  const powers = new Matrix(x.map((value) => Array.from({ length: degree + 1 }, (_, k) => value ** k)));
  // columns of length 1, as numpy does: powers of one number are of very different sizes
  const norms = Array.from({ length: degree + 1 }, (_, k) => Math.hypot(...powers.getColumn(k)));
  for (const [k, norm] of norms.entries()) powers.mulColumn(k, 1 / norm);
  const scaled = solve(powers, Matrix.columnVector([...y])).to1DArray();
  const coefficients = scaled.map((coefficient, k) => coefficient / norms[k]!);
  return (at) => coefficients.reduceRight((sum, coefficient) => sum * at + coefficient, 0);
}

function slopes(x: readonly number[], y: readonly number[]): number[] {
  return x.slice(1).map((right, i) => (y[i + 1]! - y[i]!) / (right - x[i]!));
}

/** One-sided three-point estimate that keeps the shape. */
function endSlope(h0: number, h1: number, delta0: number, delta1: number): number {
  const slope = ((2 * h0 + h1) * delta0 - h0 * delta1) / (h0 + h1);
  if (Math.sign(slope) !== Math.sign(delta0)) return 0;
  if (Math.sign(delta0) !== Math.sign(delta1) && Math.abs(slope) > 3 * Math.abs(delta0)) return 3 * delta0;
  return slope;
}

function piecewise(x: readonly number[], cubics: readonly Cubic[]): Interpolant {
  const antiderivative = (piece: number, at: number): number => {
    const [a, b, c, d] = cubics[piece]!;
    const t = at - x[piece]!;
    return t * (d + t * (c / 2 + t * (b / 3 + (t * a) / 4)));
  };
  return {
    integral(from, to) {
      let sum = 0;
      for (const [piece, left] of x.slice(0, -1).entries()) {
        const [low, high] = [Math.max(from, left), Math.min(to, x[piece + 1]!)];
        if (low < high) sum += antiderivative(piece, high) - antiderivative(piece, low);
      }
      return sum;
    },
  };
}
