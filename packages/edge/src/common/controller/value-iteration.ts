/** A token bucket and what passes it: one image in each step. Tokens in any unit. */
export interface Bucket {
  readonly depth: number;
  /** Tokens that come in from one image to the next. */
  readonly income: number;
  /** Tokens that sending one image takes. */
  readonly cost: number;
}

/** A step's future counts this much. Below 1, so that the values converge; near it, so that long runs are what counts. */
const DISCOUNT = 0.995;
const PRECISION = 1e-6;
const MOST_SWEEPS = 5000;

/**
 * The optimal policy of a token bucket for independent gains (2010.13737; 2208.00485): at each level one threshold, and an
 * image is sent if its expected gain is above it. By value iteration on `levels` levels from 0 to the depth, with linear
 * interpolation between them:
 *
 *     V(x) = mean over gains g of max(g + discount * V(x - cost + income), discount * V(x + income))
 *
 * Levels below the cost cannot send: their threshold is Infinity.
 * @param gains a sample of their distribution
 */
export function thresholdsByLevel(gains: readonly number[], bucket: Bucket, levels: number): Float64Array {
  const { depth, income, cost } = bucket;
  const step = depth / (levels - 1);
  const sorted = Float64Array.from(gains).toSorted();
  const above = sumsAbove(sorted);
  let values = new Float64Array(levels);
  const thresholds = new Float64Array(levels);
  for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    const next = new Float64Array(levels);
    for (let level = 0; level < levels; level++) {
      const tokens = level * step;
      const keep = DISCOUNT * at(values, (tokens + income) / step);
      if (tokens < cost) {
        thresholds[level] = Infinity;
        next[level] = keep;
        continue;
      }
      const send = DISCOUNT * at(values, (tokens - cost + income) / step);
      const threshold = Math.max(0, keep - send); // what the tokens are worth later
      const first = firstAbove(sorted, threshold);
      const share = (sorted.length - first) / sorted.length;
      thresholds[level] = threshold;
      next[level] = above[first]! / sorted.length + share * send + (1 - share) * keep;
    }
    // Only differences between levels matter, and they settle long before the values do.
    let [least, most] = [Infinity, -Infinity];
    for (let level = 0; level < levels; level++) {
      const change = next[level]! - values[level]!;
      least = Math.min(least, change);
      most = Math.max(most, change);
    }
    values = next;
    if (most - least < PRECISION) break;
  }
  return thresholds;
}

/** The threshold at a number of tokens: that of the level below, so that none is spent that is not there. */
export function thresholdAt(thresholds: Float64Array, tokens: number, depth: number): number {
  const level = Math.floor((tokens / depth) * (thresholds.length - 1) + 1e-9);
  return thresholds[Math.min(thresholds.length - 1, Math.max(0, level))]!;
}

/** Value between levels; a full bucket takes no more. */
function at(values: Float64Array, level: number): number {
  const top = values.length - 1;
  if (level >= top) return values[top]!;
  const below = Math.floor(level);
  return values[below]! + (level - below) * (values[below + 1]! - values[below]!);
}

/** Sum of sorted[i], sorted[i + 1], ... for every i; 0 behind the last. */
function sumsAbove(sorted: Float64Array): Float64Array {
  const sums = new Float64Array(sorted.length + 1);
  for (let i = sorted.length - 1; i >= 0; i--) sums[i] = sums[i + 1]! + sorted[i]!;
  return sums;
}

/** Index of the first value above `threshold`. */
function firstAbove(sorted: Float64Array, threshold: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! > threshold) high = middle;
    else low = middle + 1;
  }
  return low;
}
