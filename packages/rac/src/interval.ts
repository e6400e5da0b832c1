/**
 * The 95 % bootstrap interval of a share of right answers: what resampling the photos with replacement gives for ever more
 * resamples (Efron 1979). A resample's right answers are binomial, so their quantiles are computed and not drawn.
 * @returns percent, [2.5 % quantile, 97.5 % quantile]
 */
export function shareInterval(right: number, of: number): [low: number, high: number] {
  const p = right / of;
  if (p === 0 || p === 1) return [100 * p, 100 * p];
  let logProbability = of * Math.log1p(-p); // of no right answer
  let cumulative = Math.exp(logProbability);
  let low: number | undefined;
  for (let k = 0; ; k++) {
    if (low === undefined && cumulative >= 0.025) low = k;
    if (cumulative >= 0.975 || k === of) return [(100 * (low ?? k)) / of, (100 * k) / of];
    logProbability += Math.log(((of - k) / (k + 1)) * (p / (1 - p)));
    cumulative += Math.exp(logProbability);
  }
}
