import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { shipped, tiny } from '../helpers/payloads.mjs';
import { freePort, Service } from '../helpers/service.mjs';
import { Traffic } from '../helpers/traffic.mjs';

export const about = `kill -9 of a worker, and of a service, under load: no answer is lost to the client.
Two instances of two workers. A killed worker is replaced and its service goes on; a killed service takes its workers along and
is started again, and its requests go to the other instance.`;

export const options = {
  rounds: { default: 10, about: 'of one worker and one service each' },
  bundle: { default: 'shipped', about: 'shipped or tiny' },
  concurrency: { default: 48, about: 'requests at any time' },
  short: { default: false, about: 'two rounds of the tiny bundle' },
};

const WORKERS = 2;
/** Within this time a worker is replaced, and the workers of a killed service are gone, s. */
const PATIENCE = 30;

export async function run({ rounds, bundle, concurrency, short }, report) {
  const { folder, bundle: model, payloads } = await (short || bundle === 'tiny' ? tiny() : shipped());
  const times = short ? 2 : rounds;
  const listen = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const start = (at) =>
    Service.start(['--bundle', folder, '--workers', `${WORKERS}`], { listen: listen[at] });
  const services = [await start(0), await start(1)];
  const traffic = await Traffic.start(listen, { bundle: model, payloads, concurrency });

  let replaced = 0;
  let orphans = 0;
  for (let round = 0; round < times; round++) {
    const at = round % 2;
    const victim = services[at];
    const workers = victim.workerPids();
    if (workers.length !== WORKERS)
      throw new Error(`${workers.length} worker processes; ${WORKERS} were asked for`);
    await sleep(500 + 37 * round); // another moment of a batch each time
    process.kill(workers[round % WORKERS], 'SIGKILL');
    if (await holds(() => victim.workerPids().some((pid) => !workers.includes(pid)))) replaced++;
    await sleep(500);

    const left = victim.workerPids();
    victim.kill('SIGKILL');
    await victim.ended;
    if (!(await holds(() => left.every((pid) => !existsSync(`/proc/${pid}`))))) orphans++;
    services[at] = await start(at);
  }
  await sleep(500);
  await traffic.stop();
  const exitCodes = [];
  for (const service of services) exitCodes.push(await service.stop());

  for (const failure of traffic.failures) report.note(failure);
  report.table(`${times} workers and ${times} services killed, ${concurrency} requests at any time`, {
    'requests, last answer': traffic.codes,
    'sent again, by why': traffic.resent,
  });
  report.bar('requests without an answer', traffic.failed, '=', 0);
  report.bar('requests answered', traffic.answered, '>=', times);
  report.bar('workers replaced', replaced, '=', times);
  report.bar('services whose workers outlived them', orphans, '=', 0);
  report.bar('exit codes that are not 0', exitCodes.filter((code) => code !== 0).length, '=', 0);
}

async function holds(condition) {
  for (const end = performance.now() + 1000 * PATIENCE; performance.now() < end;) {
    if (condition()) return true;
    await sleep(50);
  }
  return false;
}
