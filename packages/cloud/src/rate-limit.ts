import type { Caller } from '@raccoon/transport';

/** A caller that was silent may send this much of its rate at once, s. */
const BURST_S = 1;
/** Buckets are looked through for full ones when there are more than this. */
const MANY = 4096;

interface Bucket {
  tokens: number;
  /** When `tokens` was right, ms. */
  at: number;
  /** When it is full again, ms. */
  fullAt: number;
}

/** Images per second of each caller: a token bucket each. */
export class RateLimit {
  readonly #imagesPerSecond: number;
  readonly #buckets = new Map<string, Bucket>();
  #sweepAt = MANY;

  /** @param imagesPerSecond of a caller that has no rate of its own; Infinity: no limit */
  constructor(imagesPerSecond: number) {
    this.#imagesPerSecond = imagesPerSecond;
  }

  /** Takes a token; without one, how long until there is one, ms. `now`: ms. */
  take(caller: Caller, now: number): number {
    const rate = caller.imagesPerSecond ?? this.#imagesPerSecond;
    if (rate === Infinity) return 0;
    const burst = Math.max(1, rate * BURST_S);
    let bucket = this.#buckets.get(caller.name);
    if (!bucket) {
      if (this.#buckets.size >= this.#sweepAt) this.#sweep(now);
      this.#buckets.set(caller.name, (bucket = { tokens: burst, at: now, fullAt: now }));
    }
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) * rate) / 1000);
    bucket.at = now;
    if (bucket.tokens < 1) return ((1 - bucket.tokens) * 1000) / rate;
    bucket.tokens--;
    bucket.fullAt = now + ((burst - bucket.tokens) * 1000) / rate;
    return 0;
  }

  /** Forgets whose bucket is full again: a new one is just like it. */
  #sweep(now: number): void {
    for (const [name, { fullAt }] of this.#buckets) if (fullAt <= now) this.#buckets.delete(name);
    this.#sweepAt = 2 * Math.max(MANY, this.#buckets.size);
  }
}
