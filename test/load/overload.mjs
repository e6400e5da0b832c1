import { openLanes } from '../helpers/lane.mjs';
import { closedLoop, openLoop } from '../helpers/load.mjs';
import { shipped, tiny } from '../helpers/payloads.mjs';
import { watch } from '../helpers/processes.mjs';
import { Service } from '../helpers/service.mjs';
import { median, quantile } from '../helpers/statistics.mjs';

export const about = `Three times the capacity: what is admitted is answered in time, the rest is refused at the door.
Poisson arrivals at 50 % of the capacity, then at 300 %, then at 50 % again.`;

export const options = {
  bundle: { default: 'shipped', about: 'shipped or tiny' },
  seconds: { default: 60, about: 'of overload' },
  normal: { default: 20, about: 'seconds of normal load before and after' },
  'max-queue-ms': { default: 1000, about: 'how old a request in the queue may become' },
  short: { default: false, about: 'judge counts, not times' },
};

/** What a fitted line of resident memory may grow over the run, percent of its mean. */
const GROWTH_PERCENT = 5;

export async function run(given, report) {
  const { bundle, seconds, normal } = given;
  const maxQueueMs = given['max-queue-ms'];
  const { folder, payloads } = await (bundle === 'tiny' ? tiny() : shipped());
  const args = ['--bundle', folder, '--workers', '1', '--max-queue-ms', `${maxQueueMs}`];
  const service = await Service.start(args, { metrics: true });
  // credit must not hold requests back here: 64 streams have 4,096
  const { lanes, close } = await openLanes(service.address, 64, { connections: 4 });
  const { rate: capacity } = await closedLoop(lanes, payloads, {
    concurrency: 64,
    seconds: Math.min(8, normal),
  });

  const before = await openLoop(lanes, payloads, { rate: 0.5 * capacity, seconds: normal });
  const memory = watch(service.pid);
  const peak = await openLoop(lanes, payloads, { rate: 3 * capacity, seconds, seed: 2 });
  const grown = memory.stop();
  const after = await openLoop(lanes, payloads, { rate: 0.5 * capacity, seconds: normal + 2, seed: 3 });
  await close();
  const code = await service.stop();

  const normalP99 = quantile(before.latencies, 0.99);
  const recovered = after.between(2, normal + 2);
  const serviceMs = median(peak.serviceMs);
  const bound = maxQueueMs + 2 * serviceMs;
  report.table(
    `${bundle} bundle, capacity ${capacity.toFixed(1)} images/s, a batch takes ${serviceMs.toFixed(0)} ms; ms`,
    {
      '50 %, before': row(before),
      '300 %': row(peak),
      '50 %, from 2 s after': row(after, recovered),
    },
  );
  report.table('service and workers', { memory: grown });
  report.bar('p99 of what was admitted, ms', quantile(peak.latencies, 0.99), '<=', bound, { timed: true });
  // The client that sends three times too much, and the refusals to it, take their share of the same processors.
  report.bar('images/s under overload over the capacity', peak.rate / capacity, '>=', 0.75, { timed: true });
  report.bar('growth of memory, percent', grown.growthPercent, '<=', GROWTH_PERCENT, { timed: true });
  report.bar('p99 from 2 s after over that before', quantile(recovered, 0.99) / normalP99, '<=', 1.5, {
    timed: true,
  });
  const others = Object.keys({ ...before.codes, ...peak.codes, ...after.codes }).filter(
    (each) => each !== 'ok' && each !== 'overloaded',
  );
  report.bar('codes but ok and overloaded', others.join(' ') || 'none', '=', 'none');
  report.bar('requests refused', peak.codes.overloaded ?? 0, '>=', 1);
  report.bar('exit code', code, '=', 0);
}

function row(tally, latencies = tally.latencies) {
  return {
    'due/s': Object.values(tally.codes).reduce((a, b) => a + b, 0) / tally.seconds,
    'ok/s': tally.rate,
    p50: median(latencies),
    p99: quantile(latencies, 0.99),
    'queue p99': quantile(tally.queueMs, 0.99),
    codes: JSON.stringify(tally.codes),
  };
}
