export interface BatchLimits {
  /** Images in a batch, at most. */
  readonly maxBatch: number;
  /** How long a request waits for company while a worker is idle, ms. */
  readonly maxBatchDelayMs: number;
}

/** Times are `performance.now()`, ms; without a deadline it is Infinity. */
export interface Company {
  readonly arrivedAt: number;
  readonly deadline: number;
}

/**
 * When the waiting requests of a model need not wait for more company, `performance.now()` ms: they fill a batch, one of
 * them has waited long enough, or its deadline comes near.
 * @param serviceMs how long their batch would take; 0: not known
 */
export function ripeAt(
  waiting: Iterable<Company>,
  count: number,
  serviceMs: number,
  { maxBatch, maxBatchDelayMs }: BatchLimits,
): number {
  let at = Infinity;
  if (count >= maxBatch || maxBatchDelayMs === 0) return -Infinity;
  for (const { arrivedAt, deadline } of waiting) {
    at = Math.min(at, arrivedAt + maxBatchDelayMs);
    // Twice, because what was measured is a mean.
    if (deadline < Infinity) at = Math.min(at, serviceMs === 0 ? -Infinity : deadline - 2 * serviceMs);
  }
  return at;
}
