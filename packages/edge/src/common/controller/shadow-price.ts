/** Units a second that may be used, and how steep and far the price moves. */
export interface PriceOptions {
  /** Units a second; none: no limit, the price stays the least. */
  readonly rate: number | undefined;
  /** Points of accuracy per unit where there is plenty, */
  readonly least: number;
  /** and at most, so that it comes back soon from a limit that nothing can keep to. Default: no most. */
  readonly highest?: number;
  /** Seconds of twice the limit after which the price is e-fold. */
  readonly horizon: number;
}

/**
 * What a limited resource costs just now, so that its mean use keeps to the limit and it goes where it gains most: the dual
 * variable of the limit, followed by exponentiated gradient steps (Kivinen and Warmuth 1997):
 *
 *     price <- price * exp((used - rate * elapsed) / (rate * horizon)), from `least` on
 *
 * Summed up: if nothing is used above a price p, use in T seconds is at most rate * (T + horizon * ln(p / least)) and what was
 * used last, whatever comes.
 */
export class ShadowPrice {
  /** Points of accuracy per unit. */
  price: number;
  readonly #options: PriceOptions;

  constructor(options: PriceOptions) {
    this.#options = options;
    this.price = options.least;
  }

  /** `units` were used in the last `elapsedMs`. */
  use(units: number, elapsedMs: number): void {
    const { rate, least, highest = Infinity, horizon } = this.#options;
    if (rate === undefined) return;
    const allowed = (rate * Math.max(0, elapsedMs)) / 1000;
    const moved = this.price * Math.exp((units - allowed) / (rate * horizon));
    this.price = Math.min(highest, Math.max(least, moved));
  }
}
