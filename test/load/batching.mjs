import { writeFileSync } from 'node:fs';
import { openLanes } from '../helpers/lane.mjs';
import { closedLoop, openLoop } from '../helpers/load.mjs';
import { shipped, tiny } from '../helpers/payloads.mjs';
import { Service } from '../helpers/service.mjs';
import { mean, median, quantile } from '../helpers/statistics.mjs';

export const about = `That batches pay: images/s at concurrency 32 against 1, and latency under load.
Latency is under Poisson arrivals at shares of the measured capacity, from the moment a request was due. --csv writes a table
in the columns of Triton's perf_analyzer.`;

export const options = {
  bundle: { default: 'shipped', about: 'shipped or tiny' },
  workers: { default: 1, about: 'worker processes' },
  seconds: { default: 10, about: 'of each measurement' },
  rounds: { default: 3, about: 'of each' },
  csv: { default: '', about: 'file to write' },
};

const LOADS = [0.5, 0.8, 0.95];

export async function run({ bundle, workers, seconds, rounds, csv }, report) {
  const { folder, payloads } = await (bundle === 'tiny' ? tiny() : shipped());
  const service = await Service.start(['--bundle', folder, '--workers', `${workers}`], { metrics: true });
  const { lanes, close } = await openLanes(service.address, 4);
  await closedLoop(lanes, payloads, { concurrency: 32, seconds: 2 });

  const closed = { 1: [], 32: [] };
  for (let round = 0; round < rounds; round++) {
    for (const concurrency of [1, 32]) {
      const before = await service.metrics();
      const tally = await closedLoop(lanes, payloads, { concurrency, seconds });
      closed[concurrency].push({
        ...summary(tally),
        batch: meanBatch(before, await service.metrics()),
        tally,
      });
    }
  }
  const capacity = median(closed[32].map(({ rate }) => rate));
  const open = {};
  for (const share of LOADS) {
    open[share] = [];
    for (let round = 0; round < rounds; round++) {
      const before = await service.metrics();
      const tally = await openLoop(lanes, payloads, { rate: share * capacity, seconds, seed: round + 1 });
      open[share].push({ ...summary(tally), batch: meanBatch(before, await service.metrics()), tally });
    }
  }
  await close();
  const code = await service.stop();

  const rows = {
    ...Object.fromEntries(Object.entries(closed).map(([n, all]) => [`concurrency ${n}`, medians(all)])),
    ...Object.fromEntries(
      Object.entries(open).map(([share, all]) => [
        `${Math.round(100 * share)} % of capacity, Poisson`,
        medians(all),
      ]),
    ),
  };
  report.table(
    `${bundle} bundle, ${workers} worker(s), medians of ${rounds} rounds of ${seconds} s; ms`,
    rows,
  );
  if (csv) writeFileSync(csv, perfAnalyzer(rows));
  const failed = [...Object.values(closed), ...Object.values(open)].flat().map(({ tally }) => tally.failed);
  report.bar(
    'images/s at concurrency 32 over those at 1',
    capacity / median(closed[1].map(({ rate }) => rate)),
    '>=',
    1.1,
    {
      timed: true,
    },
  );
  report.bar('mean batch at concurrency 32', rows['concurrency 32'].batch, '>=', 4);
  report.bar('requests that failed', Math.max(...failed), '=', 0);
  report.bar('exit code', code, '=', 0);
}

function summary(tally) {
  const { latencies, queueMs, serviceMs } = tally;
  return {
    rate: tally.rate,
    p50: quantile(latencies, 0.5),
    p90: quantile(latencies, 0.9),
    p95: quantile(latencies, 0.95),
    p99: quantile(latencies, 0.99),
    mean: mean(latencies),
    queue: mean(queueMs),
    service: mean(serviceMs),
  };
}

/** Images per batch between two looks at /metrics. */
function meanBatch(before, after) {
  const grown = (suffix) => {
    const name = `raccoon_batch_images_${suffix}`;
    return after.sum(name) - before.sum(name);
  };
  return grown('sum') / grown('count');
}

function medians(runs) {
  const { tally: _, ...first } = runs[0];
  return Object.fromEntries(Object.keys(first).map((key) => [key, median(runs.map((each) => each[key]))]));
}

function micros(ms) {
  return Math.round(1000 * ms);
}

/** perf_analyzer's CSV, latencies in µs. What it calls compute is one number here: decoding and inference of the batch. */
function perfAnalyzer(rows) {
  const header =
    'Load,Inferences/Second,Network+Server Send/Recv,Server Queue,Server Compute,p50 latency,p90 latency,p95 latency,p99 latency';
  const lines = Object.entries(rows).map(([name, row]) =>
    [
      name.replace(',', ''),
      row.rate.toFixed(2),
      micros(row.mean - row.queue - row.service),
      micros(row.queue),
      micros(row.service),
      ...[row.p50, row.p90, row.p95, row.p99].map(micros),
    ].join(','),
  );
  return `${[header, ...lines].join('\n')}\n`;
}
