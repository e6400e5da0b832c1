/** The q-quantile (nearest rank); NaN of nothing. */
export function quantile(values, q) {
  if (values.length === 0) return Number.NaN;
  const sorted = Float64Array.from(values).toSorted();
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1 + (q === 0 ? 1 : 0))];
}

export function median(values) {
  return quantile(values, 0.5);
}

export function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** Slope of the least-squares line through points (x, y). */
export function slope(points) {
  const x = mean(points.map(([at]) => at));
  const y = mean(points.map(([, value]) => value));
  let covariance = 0;
  let variance = 0;
  for (const [at, value] of points) {
    covariance += (at - x) * (value - y);
    variance += (at - x) ** 2;
  }
  return covariance / variance;
}
