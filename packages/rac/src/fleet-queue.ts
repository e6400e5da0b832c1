import type { ServiceTimes } from './fleet-service-time.ts';

/** What a worker with a queue of its own does, in the long run. */
export interface Steady {
  /** Share of the time that it runs, 0 to 1. */
  readonly utilisation: number;
  /** Share of the requests that find the queue full, 0 to 1. */
  readonly refused: number;
  /** Images that run together. */
  readonly meanBatch: number;
  /** Arrival to answer of those that are not refused. */
  readonly latency: Latency;
}

/** Bins of a latency: so many, as wide as e to this, from 1 us on; the last is 100,000 s. */
const BINS = 12_800;
const WIDTH = 0.002;
const SHORTEST_MS = 1e-3;
/** Moments of an arrival in the batch that runs, of which each is tried. */
const MOMENTS = 24;
/** What is less probable is left out. */
const NEGLIGIBLE = 1e-9;

/** A distribution of times, in bins that are 0.2 % wide. */
export class Latency {
  readonly #bins = new Float64Array(BINS);
  #total = 0;
  #sum = 0;

  add(ms: number, weight: number): void {
    const bin = Math.floor(Math.log(ms / SHORTEST_MS) / WIDTH);
    this.#bins[Math.min(BINS - 1, Math.max(0, bin))]! += weight;
    this.#total += weight;
    this.#sum += ms * weight;
  }

  /** Adds another's requests to these. */
  addAll(other: Latency, weight: number): void {
    for (let bin = 0; bin < BINS; bin++) this.#bins[bin]! += other.#bins[bin]! * weight;
    this.#total += other.#total * weight;
    this.#sum += other.#sum * weight;
  }

  get meanMs(): number {
    return this.#sum / this.#total;
  }

  /** @param q 0 to 1 */
  quantileMs(q: number): number {
    let left = q * this.#total;
    const bin = this.#bins.findIndex((weight) => (left -= weight) <= 0);
    return SHORTEST_MS * Math.exp(((bin < 0 ? BINS : bin) + 0.5) * WIDTH);
  }
}

/**
 * The bulk-service queue M/G^[1,B]/1 with Poisson arrivals and room for `maxQueue` that wait: the worker takes all that waits
 * when it is free, up to B images, and needs s(b) for b of them. The chain embedded at the ends of its batches (Bailey 1954;
 * Neuts 1967) is solved by elimination (Grassmann, Taksar, Heyman 1985); from it follows how long a request waits that
 * arrives at any moment. Where s varies it is log-normal, in five points. Inoue (arXiv 1912.06322) has a closed form for the mean,
 * with B unbounded and s(b) a straight line.
 * @param imagesPerMs that arrive
 */
export function steady(times: ServiceTimes, maxQueue: number, imagesPerMs: number): Steady {
  const { ms: serviceMs, variation } = times;
  const maxBatch = serviceMs.length - 1;
  const factors = lognormal(variation);
  const chain = embedded(serviceMs, factors, imagesPerMs, maxQueue);
  const idleMs = chain[0]! / imagesPerMs;
  // whoever finds nothing waits for the next one, and runs it alone
  const atCut = chain.slice();
  atCut[1]! += chain[0]!;
  atCut[0] = 0;
  let busyMs = 0;
  let meanBatch = 0;
  for (const [waiting, weight] of atCut.entries()) {
    const batch = Math.min(waiting, maxBatch);
    busyMs += weight * serviceMs[batch]!;
    meanBatch += weight * batch;
  }
  const cycleMs = busyMs + idleMs;

  const latency = new Latency();
  let refused = 0;
  for (const { factor, weight } of factors) latency.add(factor * serviceMs[1]!, (weight * idleMs) / cycleMs);
  for (let batch = 1; batch <= maxBatch; batch++) {
    // what stays in the queue when a batch of this size is cut
    const left = atCut.subarray(batch, batch < maxBatch ? batch + 1 : undefined);
    for (const { factor, weight } of factors) {
      const ms = factor * serviceMs[batch]!;
      const met = (weight * ms) / cycleMs / MOMENTS; // a longer batch meets more arrivals
      for (let moment = 0.5; moment < MOMENTS; moment++) {
        const elapsedMs = (ms * moment) / MOMENTS;
        const ahead = convolve(left, poisson(imagesPerMs * elapsedMs, maxQueue), maxQueue);
        for (let count = 0; count < maxQueue; count++) addWaiting(count, ms - elapsedMs, met * ahead[count]!);
        refused += met * ahead[maxQueue]!;
      }
    }
  }
  return { utilisation: busyMs / cycleMs, refused, meanBatch, latency };

  /** A request with so many ahead of it, `restMs` before the next cut. */
  function addWaiting(ahead: number, restMs: number, weight: number): void {
    if (weight < NEGLIGIBLE) return;
    const fullMs = serviceMs[maxBatch]!;
    const rounds = Math.floor(ahead / maxBatch); // of full batches, before its own
    const place = (ahead % maxBatch) + 1;
    const behind = poisson(imagesPerMs * (restMs + rounds * fullMs), maxBatch - place);
    for (let more = 0; more <= maxBatch - place; more++) {
      const ownMs = serviceMs[place + more]!;
      const runMs = rounds * fullMs + ownMs;
      const spread = (variation * Math.sqrt(rounds * fullMs ** 2 + ownMs ** 2)) / runMs;
      for (const { factor, weight: share } of lognormal(spread))
        latency.add(restMs + factor * runMs, weight * behind[more]! * share);
    }
  }
}

/** How probable it is that so many wait when a batch ends, 0 ... maxQueue. */
function embedded(
  serviceMs: Float64Array,
  factors: readonly Atom[],
  imagesPerMs: number,
  maxQueue: number,
): Float64Array {
  const maxBatch = serviceMs.length - 1;
  const arrivals = Array.from(serviceMs, (ms) => {
    const mixed = new Float64Array(maxQueue + 1);
    for (const { factor, weight } of factors) {
      const p = poisson(imagesPerMs * factor * ms, maxQueue);
      for (let k = 0; k <= maxQueue; k++) mixed[k]! += weight * p[k]!;
    }
    return mixed;
  });
  return stationary(
    Array.from({ length: maxQueue + 1 }, (_, waiting) => {
      const batch = Math.min(Math.max(waiting, 1), maxBatch);
      const left = new Float64Array(Math.max(waiting, 1) - batch + 1);
      left[left.length - 1] = 1;
      return convolve(left, arrivals[batch]!, maxQueue);
    }),
  );
}

/** Of a Markov chain, by elimination without subtractions (Grassmann, Taksar, Heyman 1985). Changes `rows`. */
function stationary(rows: readonly Float64Array[]): Float64Array {
  for (let n = rows.length - 1; n > 0; n--) {
    const row = rows[n]!;
    let out = 0;
    for (let j = 0; j < n; j++) out += row[j]!;
    for (let i = 0; i < n; i++) {
      const other = rows[i]!;
      if (other[n] === 0) continue;
      const share = (other[n]! /= out);
      for (let j = 0; j < n; j++) other[j]! += share * row[j]!;
    }
  }
  const probable = new Float64Array(rows.length);
  let sum = (probable[0] = 1);
  for (let n = 1; n < rows.length; n++) {
    for (let i = 0; i < n; i++) probable[n]! += probable[i]! * rows[i]![n]!;
    sum += probable[n]!;
  }
  return probable.map((p) => p / sum);
}

/** How probable 0 ... `max` events are; `max` stands for more, too. */
function poisson(mean: number, max: number): Float64Array {
  const p = new Float64Array(max + 1);
  let log = -mean;
  let rest = 1;
  for (let k = 0; k < max; k++) {
    rest -= p[k] = Math.exp(log);
    log += Math.log(mean / (k + 1));
    if (k > mean && p[k]! < NEGLIGIBLE ** 2) break;
  }
  p[max] = Math.max(0, rest);
  return p;
}

/** Of a sum, 0 ... `max`; `max` stands for more, too. */
function convolve(a: Float64Array, b: Float64Array, max: number): Float64Array {
  const sum = new Float64Array(max + 1);
  for (let i = 0; i < a.length; i++) {
    if (a[i] === 0) continue;
    for (let j = 0; j < b.length; j++) sum[Math.min(max, i + j)]! += a[i]! * b[j]!;
  }
  return sum;
}

/** Of a random factor: a value, and how probable it is. */
interface Atom {
  readonly factor: number;
  readonly weight: number;
}

/** Gauss and Hermite's five points of a standard normal, and their weights. */
const NORMAL = [
  [0, 8 / 15],
  [1.355626179974266, 0.222075922005613],
  [-1.355626179974266, 0.222075922005613],
  [2.856970013872806, 0.011257411327721],
  [-2.856970013872806, 0.011257411327721],
] as const;
const ALWAYS: readonly Atom[] = [{ factor: 1, weight: 1 }];

/** Mean 1, standard deviation `variation`. */
function lognormal(variation: number): readonly Atom[] {
  if (variation === 0) return ALWAYS;
  const sigma = Math.sqrt(Math.log(1 + variation ** 2));
  return NORMAL.map(([z, weight]) => ({ factor: Math.exp(sigma * z - sigma ** 2 / 2), weight }));
}
