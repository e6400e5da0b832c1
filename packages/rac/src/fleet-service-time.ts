/** A measurement: one worker took `ms` for a batch of `images`. */
export interface BatchTime {
  readonly images: number;
  /** Mean, ms. */
  readonly ms: number;
  /** Standard deviation, ms; 0 or absent: always the same. */
  readonly sdMs?: number;
}

/** How long one worker takes for a batch, by the number of its images. */
export interface ServiceTimes {
  /** Mean, ms; index: images, from 0 (no time) to the largest batch; never falls. */
  readonly ms: Float64Array;
  /** Standard deviation / mean, the same for every batch. */
  readonly variation: number;
}

/**
 * Straight lines through measurements, the first of them through that of one image; beyond the last one as many ms an image
 * as there. A larger batch that was faster than a smaller one is taken to be as slow.
 * @param maxBatch images in a batch, at most
 * @throws RangeError for no measurement, or one that is no time
 */
export function serviceTimes(measured: readonly BatchTime[], maxBatch: number): ServiceTimes {
  const rows = measured.toSorted((a, b) => a.images - b.images);
  for (const { images, ms, sdMs = 0 } of rows) {
    if (!(Number.isInteger(images) && images > 0 && ms > 0 && ms < Infinity && sdMs >= 0))
      throw new RangeError(`a batch of ${images} images in ${ms} ms is no measurement`);
  }
  const [first] = rows;
  if (!first) throw new RangeError('no service time was given or measured');
  const times = new Float64Array(maxBatch + 1);
  for (let images = 1; images <= maxBatch; images++) {
    const after = rows.findIndex((row) => row.images >= images);
    times[images] = Math.max(times[images - 1]!, interpolate(rows, after < 0 ? rows.length : after, images));
  }
  const variations = rows.map(({ ms, sdMs = 0 }) => sdMs / ms);
  return { ms: times, variation: variations.reduce((a, b) => a + b) / rows.length };
}

/** The same work on a machine that is `speed` times as fast. */
export function atSpeed({ ms, variation }: ServiceTimes, speed: number): ServiceTimes {
  return { ms: ms.map((time) => time / speed), variation };
}

/** Images per second of `workers` that always have full batches. */
export function capacity({ ms }: ServiceTimes, workers: number): number {
  const maxBatch = ms.length - 1;
  return (1000 * workers * maxBatch) / ms[maxBatch]!;
}

function interpolate(rows: readonly BatchTime[], after: number, images: number): number {
  const high = rows[after];
  const low = rows[after - 1];
  if (!low) return (high!.ms * images) / high!.images;
  if (!high) return (low.ms * images) / low.images;
  return low.ms + ((high.ms - low.ms) * (images - low.images)) / (high.images - low.images);
}
