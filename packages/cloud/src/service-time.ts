/** Weight of the newest measurement. */
const NEW = 0.2;

/** How long a worker takes for images of one model, as measured lately. */
export class ServiceTime {
  /** Of a batch, ms, by number of images; 0: not seen yet. */
  readonly #ms: Float64Array;

  constructor(maxBatch: number) {
    this.#ms = new Float64Array(maxBatch + 1);
  }

  /** A batch of `images` took `ms`. */
  observe(images: number, ms: number): void {
    this.#ms[images] = smooth(this.#ms[images]!, ms);
  }

  /** Of a batch, ms; 0: not known. As the nearest larger one, or else as the nearest smaller one, if none was of this size. */
  batch(images: number): number {
    for (let n = images; n < this.#ms.length; n++) if (this.#ms[n]! > 0) return this.#ms[n]!;
    for (let n = images - 1; n > 0; n--) if (this.#ms[n]! > 0) return (this.#ms[n]! * images) / n;
    return 0;
  }

  /** Of any number of images, in batches as large as they can be, ms; 0: not known. */
  all(images: number): number {
    const batch = Math.min(images, this.#ms.length - 1);
    return batch === 0 ? 0 : (this.batch(batch) * images) / batch;
  }
}

/** Moves `old`, 0 if there is none, towards a new measurement. */
export function smooth(old: number, value: number): number {
  return old === 0 ? value : old + NEW * (value - old);
}
