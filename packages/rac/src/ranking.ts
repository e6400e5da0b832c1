/** Classes by falling score, equal ones by index: the first k. */
export function topClasses(scores: Float32Array, k: number): number[] {
  return Array.from(scores.keys())
    .toSorted((a, b) => scores[b]! - scores[a]! || a - b)
    .slice(0, k);
}

/** The p-th quantile (0 to 1) of values, nearest rank. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] ?? Number.NaN;
}

/** Arithmetic mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
