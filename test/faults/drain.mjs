import { setTimeout as sleep } from 'node:timers/promises';
import { shipped, tiny } from '../helpers/payloads.mjs';
import { freePort, Service } from '../helpers/service.mjs';
import { median } from '../helpers/statistics.mjs';
import { Traffic } from '../helpers/traffic.mjs';

export const about = `SIGTERM under load: no request fails, and the service exits with 0.
Two instances; one is asked to leave, the client goes on with the other, and the first comes back. A request that the leaving
one refuses before any work ('draining', or a stream that says so) goes once to the other. A request that it took is answered.`;

export const options = {
  rounds: { default: 20, about: 'times that an instance leaves' },
  bundle: { default: 'shipped', about: 'shipped or tiny' },
  concurrency: { default: 48, about: 'requests at any time' },
  short: { default: false, about: 'two rounds of the tiny bundle' },
};

export async function run({ rounds, bundle, concurrency, short }, report) {
  const { folder, bundle: model, payloads } = await (short || bundle === 'tiny' ? tiny() : shipped());
  const times = short ? 2 : rounds;
  const listen = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const start = (at) =>
    Service.start(['--bundle', folder, '--workers', '1', '--drain-seconds', '20'], { listen: listen[at] });
  const services = [await start(0), await start(1)];
  const reconnect = { maxSends: 2 };
  const traffic = await Traffic.start(listen, { bundle: model, payloads, concurrency, reconnect });
  const exitCodes = [];
  const seconds = [];
  for (let round = 0; round < times; round++) {
    const leaving = round % 2;
    await sleep(500 + 37 * round); // another moment of a batch each time
    const asked = performance.now();
    exitCodes.push(await services[leaving].stop());
    seconds.push((performance.now() - asked) / 1000);
    services[leaving] = await start(leaving);
  }
  await traffic.stop();
  for (const service of services) exitCodes.push(await service.stop());

  for (const failure of traffic.failures) report.note(failure);
  report.table(`${times} times SIGTERM, ${concurrency} requests at any time`, {
    requests: traffic.codes,
    'refused and sent to the other': traffic.resent,
    'seconds from SIGTERM to exit': { median: median(seconds), max: Math.max(...seconds) },
  });
  report.bar('requests that failed', traffic.failed, '=', 0);
  report.bar('streams that broke (unavailable)', traffic.resent.unavailable ?? 0, '=', 0);
  report.bar('requests answered', traffic.answered, '>=', times);
  report.bar('exit codes that are not 0', exitCodes.filter((code) => code !== 0).length, '=', 0);
}
