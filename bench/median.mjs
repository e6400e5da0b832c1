import { Bench } from 'tinybench';

/**
 * Median milliseconds of each task, measured in turn in this process.
 * @param {Record<string, () => unknown>} tasks
 * @param {number} ms to spend on each, after a warm-up
 * @returns {Promise<Record<string, number>>}
 */
export async function medians(tasks, ms = 2000) {
  const bench = new Bench({ time: ms, warmupTime: ms / 4 });
  for (const [name, task] of Object.entries(tasks)) bench.add(name, task);
  const run = await bench.run();
  return Object.fromEntries(
    run.map(({ name, result }) => {
      if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`, { cause: result.error });
      return [name, result.latency.p50];
    }),
  );
}

/** The middle value. */
export function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
