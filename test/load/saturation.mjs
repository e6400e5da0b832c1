import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { DEFAULTS } from '@raccoon/cloud';
import { openLanes } from '../helpers/lane.mjs';
import { closedLoop } from '../helpers/load.mjs';
import { shipped } from '../helpers/payloads.mjs';
import { processorSeconds } from '../helpers/processes.mjs';
import { Service } from '../helpers/service.mjs';
import { mean, median } from '../helpers/statistics.mjs';

export const about = `The default bundle's images/s, closed loop, against a bare loop.
The bare loop decodes bitstreams and runs ONNX Runtime on full batches, in as many processes with as many threads as the
service has workers. Service and bare loop take turns; the ratio is the median of the rounds' ratios.`;

export const options = {
  workers: {
    default: Math.max(1, Math.floor(availableParallelism() / 2)),
    about: 'worker processes, of both',
  },
  seconds: { default: 8, about: 'of each round' },
  rounds: { default: 5, about: 'of each' },
  streams: { default: 4, about: 'of the client' },
  batches: { default: 4, about: 'full batches a worker that are asked for at any time' },
};

const BAR = 0.95;

export async function run({ workers, seconds, rounds, streams, batches }, report) {
  const { folder, payloads } = await shipped();
  const batch = DEFAULTS.maxBatch;
  const inFlight = batches * batch * workers;
  const threads = Math.max(1, Math.floor(availableParallelism() / workers));
  report.note(
    `${workers} worker(s) of ${threads} thread(s), batches of ${batch}, ${inFlight} requests at any time over ${streams} ` +
      `streams, ${Math.round(mean(payloads.map(({ length }) => length)))} bytes a payload, ${rounds} rounds of ${seconds} s`,
  );

  const bare = await BareLoop.start(workers, { folder, payloads, batch, threads });
  const service = await Service.start(['--workers', String(workers), '--bundle', folder]);
  const { lanes, close } = await openLanes(service.address, streams);
  const rates = { service: [], bare: [] };
  const costs = { workers: [], service: [], client: [], bare: [] };
  for (let round = 0; round <= rounds; round++) {
    const warmUp = round === 0;
    const duration = warmUp ? 2 : seconds;
    const used = [usage(service, bare)];
    const tally = await closedLoop(lanes, payloads, { concurrency: inFlight, seconds: duration });
    used.push(usage(service, bare));
    const bareRate = await bare.rate(duration);
    used.push(usage(service, bare));
    if (tally.failed > 0) throw new Error(`not every request was answered: ${JSON.stringify(tally.codes)}`);
    if (warmUp) continue;
    rates.service.push(tally.rate);
    rates.bare.push(bareRate);
    costs.workers.push((1000 * (used[1].workers - used[0].workers)) / tally.sent);
    costs.service.push((1000 * (used[1].service - used[0].service)) / tally.sent);
    costs.client.push((1000 * (used[1].client - used[0].client)) / tally.sent);
    costs.bare.push((1000 * (used[2].bare - used[1].bare)) / (bareRate * duration));
    report.note(`round ${round}: service ${tally.rate.toFixed(1)}, bare ${bareRate.toFixed(1)} images/s`);
  }
  await close();
  bare.stop();
  const code = await service.stop();

  const ratio = median(rates.service.map((rate, i) => rate / rates.bare[i]));
  report.table('images/s, medians', {
    service: {
      'images/s': median(rates.service),
      'processor ms an image': median(costs.workers),
      'in the service': median(costs.service),
      'in the client': median(costs.client),
    },
    'bare loop': {
      'images/s': median(rates.bare),
      'processor ms an image': median(costs.bare),
    },
  });
  report.bar('images/s of the service over the bare loop', ratio, '>=', BAR);
  report.bar('exit code', code, '=', 0);
}

/** Processor seconds so far. */
function usage(service, bare) {
  const { user, system } = process.cpuUsage();
  return {
    workers: secondsOf(service.workerPids()),
    service: processorSeconds(service.pid),
    client: (user + system) / 1e6,
    bare: secondsOf(bare.pids),
  };
}

function secondsOf(pids) {
  return pids.reduce((seconds, pid) => seconds + processorSeconds(pid), 0);
}

/** Processes that decode and infer, and nothing else. */
class BareLoop {
  #children;

  static async start(count, task) {
    const loop = new BareLoop();
    loop.#children = Array.from({ length: count }, () =>
      fork(join(import.meta.dirname, 'bare-loop.mjs'), { serialization: 'advanced' }),
    );
    await loop.#all(task);
    return loop;
  }

  /** Images per second of all together. */
  async rate(seconds) {
    const rates = await this.#all({ seconds });
    return rates.reduce((sum, rate) => sum + rate, 0);
  }

  get pids() {
    return this.#children.map(({ pid }) => pid);
  }

  stop() {
    for (const child of this.#children) child.disconnect();
  }

  #all(message) {
    return Promise.all(
      this.#children.map(
        (child) =>
          new Promise((resolve, reject) => {
            child.once('message', resolve);
            child.once('exit', (code) => reject(new Error(`the bare loop ended with ${code}`)));
            child.send(message);
          }),
      ),
    );
  }
}
