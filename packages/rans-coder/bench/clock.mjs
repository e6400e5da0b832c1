const WARM_UP_MS = 150;
const MEASURE_MS = 600;
const LEAST_ROUNDS = 5;

/** Median milliseconds of `work`, run again and again. */
export function medianMs(work, measureMs = MEASURE_MS) {
  for (const until = performance.now() + WARM_UP_MS; performance.now() < until;) work();
  const times = [];
  for (
    const until = performance.now() + measureMs;
    performance.now() < until || times.length < LEAST_ROUNDS;
  ) {
    const start = performance.now();
    work();
    times.push(performance.now() - start);
  }
  return median(times);
}

/** The middle value. */
export function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
