import { openLanes } from '../helpers/lane.mjs';
import { closedLoop, openLoop } from '../helpers/load.mjs';
import { shipped, tiny } from '../helpers/payloads.mjs';
import { residentBytes, watch } from '../helpers/processes.mjs';
import { Service } from '../helpers/service.mjs';
import { quantile, slope } from '../helpers/statistics.mjs';

export const about = `Ten minutes at 80 % of the capacity: resident memory, handles and event-loop lag stay flat.
Every half minute the streams are opened anew, so that what a stream leaves behind would show. Slopes are of a least-squares
line without the first fifth of the run.`;

export const options = {
  bundle: { default: 'shipped', about: 'shipped or tiny' },
  seconds: { default: 600, about: 'of the soak' },
  workers: { default: 1, about: 'worker processes' },
};

/** Of the fitted lines, over the whole run. */
const GROWTH_PERCENT = 5;
const HANDLES = 2;
const LAG_MS = 5;

export async function run({ bundle, seconds, workers }, report) {
  const { folder, payloads } = await (bundle === 'tiny' ? tiny() : shipped());
  const service = await Service.start(['--bundle', folder, '--workers', `${workers}`], { metrics: true });
  const stretch = Math.min(30, seconds / 10);
  let open = await openLanes(service.address, 4);
  const { rate: capacity } = await closedLoop(open.lanes, payloads, {
    concurrency: 32,
    seconds: Math.min(8, stretch),
  });

  const memory = watch(service.pid, 1000);
  const lags = [];
  const tallies = [];
  const start = performance.now();
  for (let round = 1; performance.now() - start < 1000 * seconds; round++) {
    tallies.push(
      await openLoop(open.lanes, payloads, { rate: 0.8 * capacity, seconds: stretch, seed: round }),
    );
    lags.push([(performance.now() - start) / 60_000, 1000 * (await service.metrics()).eventLoopLagP99]);
    await open.close();
    open = await openLanes(service.address, 4);
  }
  const grown = memory.stop();
  const workerMegabytes = service.workerPids().map((pid) => residentBytes(pid) / 2 ** 20);
  await open.close();
  const code = await service.stop();

  const lagSlope = slope(lags.slice(Math.floor(lags.length / 5)));
  const minutes = grown.seconds / 60;
  const latencies = tallies.flatMap((tally) => tally.latencies);
  const failed = tallies.reduce((sum, tally) => sum + tally.failed, 0);
  report.table(`${bundle} bundle, ${capacity.toFixed(1)} images/s capacity, ${latencies.length} images`, {
    'resident memory, MB': {
      mean: grown.meanMegabytes,
      'per minute': grown.megabytesPerMinute,
      'percent of the run': grown.growthPercent,
    },
    handles: { mean: grown.handles, 'per minute': grown.handlesPerMinute },
    'event-loop lag p99, ms': {
      mean: quantile(
        lags.map(([, lag]) => lag),
        0.5,
      ),
      'per minute': lagSlope,
    },
    'latency p99, ms': { mean: quantile(latencies, 0.99) },
  });
  report.note(`workers at the end: ${workerMegabytes.map((size) => `${size.toFixed(0)} MB`).join(', ')}`);
  report.bar('growth of memory over the run, percent', grown.growthPercent, '<=', GROWTH_PERCENT);
  report.bar('growth of handles over the run', grown.handlesPerMinute * minutes, '<=', HANDLES);
  report.bar('growth of lag over the run, ms', lagSlope * minutes, '<=', LAG_MS);
  report.bar('requests that failed', failed, '=', 0);
  report.bar('exit code', code, '=', 0);
}
