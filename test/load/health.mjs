import { availableParallelism } from 'node:os';
import { openLanes } from '../helpers/lane.mjs';
import { closedLoop } from '../helpers/load.mjs';
import { checkHealth, HealthProbe } from '../helpers/health.mjs';
import { shipped } from '../helpers/payloads.mjs';
import { Service } from '../helpers/service.mjs';
import { median, quantile } from '../helpers/statistics.mjs';

export const about = `That a saturated service still answers its probes: health checks and event-loop lag.
As many workers as processors, all of them busy. Probes come every 50 ms, every other one on a connection of its own, as
Kubernetes makes them.`;

export const options = {
  workers: { default: availableParallelism(), about: 'worker processes' },
  seconds: { default: 15, about: 'of saturation' },
};

const PROBE_MS = 50;

export async function run({ workers, seconds }, report) {
  const { folder, payloads } = await shipped();
  const service = await Service.start(['--bundle', folder, '--workers', `${workers}`], { metrics: true });
  const { lanes, close } = await openLanes(service.address, 4);
  const probe = new HealthProbe(service.address);
  await closedLoop(lanes, payloads, { concurrency: 32 * workers, seconds: 2 });

  for (let i = 0; i < 3; i++) await Promise.all([probe.check(), checkHealth(service.address)]);
  await service.metrics(); // lag is that since the last scrape

  const kept = [];
  const fresh = [];
  const probes = { going: true };
  const probing = (async () => {
    for (let i = 0; probes.going; i++) {
      const start = performance.now();
      const status = i % 2 ? await checkHealth(service.address) : await probe.check();
      if (status !== 'SERVING') throw new Error(`the health check says ${status}`);
      (i % 2 ? fresh : kept).push(performance.now() - start);
      await new Promise((resolve) => setTimeout(resolve, PROBE_MS));
    }
  })();
  const tally = await closedLoop(lanes, payloads, { concurrency: 32 * workers, seconds });
  probes.going = false;
  await probing;
  const lag = (await service.metrics()).eventLoopLagP99;
  probe.close();
  await close();
  const code = await service.stop();

  report.table(`ms at ${tally.rate.toFixed(1)} images/s on ${workers} workers`, {
    'connection kept': row(kept),
    'new connection': row(fresh),
  });
  report.bar('slowest health check, ms', Math.max(...kept, ...fresh), '<=', 50, { timed: true });
  report.bar('event-loop lag p99, ms', lag * 1000, '<=', 20, { timed: true });
  report.bar('requests that failed', tally.failed, '=', 0);
  report.bar('exit code', code, '=', 0);
}

function row(times) {
  return {
    probes: times.length,
    p50: median(times),
    p99: quantile(times, 0.99),
    max: Math.max(...times),
  };
}
