import { fork } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { openLanes } from '../helpers/lane.mjs';
import { closedLoop } from '../helpers/load.mjs';
import { temporaryFolder, tiny } from '../helpers/payloads.mjs';
import { processorSeconds } from '../helpers/processes.mjs';
import { root } from '../helpers/report.mjs';
import { Service } from '../helpers/service.mjs';
import { median } from '../helpers/statistics.mjs';
import { ECHO_PATH, same } from './echo-server.mjs';

export const about = `What the service costs where the network costs nothing: images/s of a tiny bundle.
Client and service are one process each (and the service's worker) on the same processors. A bare grpc-js echo of 1.5 kB
messages is measured in turn, for scale. At the end a round under Node's profiler says where the service's time goes.`;

export const options = {
  streams: { default: 4, about: 'of the client, on one connection each' },
  concurrency: { default: 256, about: 'requests at any time, over all streams' },
  workers: { default: 1, about: 'worker processes' },
  'max-batch': { default: 64, about: 'of the service' },
  seconds: { default: 5, about: 'of each round' },
  rounds: { default: 5, about: 'of each' },
  profile: { default: 4, about: 'seconds under the profiler' },
};

const BAR = 10_000;
const ECHO_BYTES = 1500;

export async function run(given, report) {
  const { streams, concurrency, workers, seconds, rounds, profile } = given;
  const { folder, bundle, payloads } = await tiny();
  const codecIds = [...bundle.codecs.keys()];
  report.note(
    `${payloads[0].length} bytes a payload, ${concurrency} requests at any time over ${streams} streams, ` +
      `${workers} worker(s), ${rounds} rounds of ${seconds} s`,
  );
  const serve = (settings) =>
    Service.start(
      ['--bundle', folder, '--workers', `${workers}`, '--max-batch', `${given['max-batch']}`],
      settings,
    );
  const load = { concurrency, seconds };
  const service = await serve();
  const open = await openLanes(service.address, streams, { connections: streams, codecIds });
  const echo = await Echo.start(streams);
  await closedLoop(open.lanes, payloads, { ...load, seconds: 3 }); // everybody's code is compiled by now
  await echo.rate(1, concurrency);

  const rates = { service: [], echo: [] };
  const costs = { service: [], workers: [], client: [] };
  for (let round = 1; round <= rounds; round++) {
    const before = usage(service);
    const tally = await closedLoop(open.lanes, payloads, load);
    const after = usage(service);
    if (tally.failed > 0) throw new Error(`not every request was answered: ${JSON.stringify(tally.codes)}`);
    rates.service.push(tally.rate);
    rates.echo.push(await echo.rate(seconds, concurrency));
    for (const key of Object.keys(costs)) costs[key].push((1e6 * (after[key] - before[key])) / tally.sent);
    report.note(
      `round ${round}: ${Math.round(tally.rate)} images/s, p50 ${median(tally.latencies).toFixed(1)} ms; ` +
        `echo ${Math.round(rates.echo.at(-1))} messages/s`,
    );
  }
  await open.close();
  await echo.stop();
  const code = await service.stop();
  report.table('medians', {
    service: {
      'per second': median(rates.service),
      'µs processor, service': median(costs.service),
      'µs, workers': median(costs.workers),
      'µs, client': median(costs.client),
    },
    [`echo of ${ECHO_BYTES} B`]: { 'per second': median(rates.echo) },
  });

  const profiles = join(temporaryFolder(), 'profiles');
  mkdirSync(profiles);
  const nodeArgs = ['--cpu-prof', `--cpu-prof-dir=${profiles}`];
  const profiled = await serve({ nodeArgs });
  const lanes = await openLanes(profiled.address, streams, { connections: streams, codecIds });
  const loadFrom = Number(process.hrtime.bigint() / 1000n);
  await closedLoop(lanes.lanes, payloads, { ...load, seconds: profile });
  await lanes.close();
  await profiled.stop();
  for (const file of readdirSync(profiles)) {
    const shares = profileOf(join(profiles, file), loadFrom);
    report.table(
      `where a process's time goes, percent of the ${shares.busySeconds.toFixed(1)} s that it was busy`,
      shares.rows,
    );
  }
  report.bar('images/s of the tiny bundle', median(rates.service), '>=', BAR);
  report.bar('exit code', code, '=', 0);
}

function usage(service) {
  const { user, system } = process.cpuUsage();
  return {
    service: processorSeconds(service.pid),
    workers: service.workerPids().reduce((sum, pid) => sum + processorSeconds(pid), 0),
    client: (user + system) / 1e6,
  };
}

/** A bare grpc-js stream in both directions, whose server sends back what it gets. */
class Echo {
  static async start(streams) {
    const echo = new Echo();
    echo.child = fork(join(import.meta.dirname, 'echo-server.mjs'));
    const port = await new Promise((resolve) => echo.child.once('message', resolve));
    echo.clients = Array.from(
      { length: streams },
      () =>
        new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
          'grpc.use_local_subchannel_pool': 1,
          'grpc.enable_channelz': 0,
        }),
    );
    echo.calls = echo.clients.map((client) => client.makeBidiStreamRequest(ECHO_PATH, same, same));
    return echo;
  }

  async rate(seconds, concurrency) {
    const message = Buffer.alloc(ECHO_BYTES, 1);
    let count = 0;
    let running = true;
    const listeners = this.calls.map((call) => {
      const again = () => {
        count++;
        if (running) call.write(message);
      };
      call.on('data', again);
      return again;
    });
    for (let i = 0; i < concurrency; i++) this.calls[i % this.calls.length].write(message);
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    const rate = (1000 * count) / (performance.now() - start);
    running = false;
    await new Promise((resolve) => setTimeout(resolve, 200));
    this.calls.forEach((call, i) => call.off('data', listeners[i]));
    return rate;
  }

  async stop() {
    const ended = this.calls.map((call) => new Promise((resolve) => call.on('end', resolve)));
    for (const call of this.calls) call.end();
    await Promise.all(ended);
    for (const client of this.clients) client.close();
    this.child.disconnect();
  }
}

/**
 * Time of a V8 profile by package: a function's own time, and that of the built-in functions that it calls.
 * @param from without what was before, µs of the machine's monotonic clock, which V8 uses, too
 */
function profileOf(file, from) {
  const { nodes, samples, timeDeltas, startTime } = JSON.parse(readFileSync(file, 'utf8'));
  const parentOf = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const ownerOf = (id) => {
    const { callFrame } = byId.get(id);
    // (program) is native code: sockets, nghttp2, ONNX Runtime
    if (callFrame.functionName.startsWith('(') && callFrame.url === '') return callFrame.functionName;
    if (callFrame.url === '') return ownerOf(parentOf.get(id));
    return packageOf(callFrame.url);
  };
  const micros = {};
  let now = startTime;
  samples.forEach((id, i) => {
    now += timeDeltas[i];
    if (now < from) return;
    const name = ownerOf(id);
    micros[name] = (micros[name] ?? 0) + timeDeltas[i];
  });
  const { '(idle)': _, ...busy } = micros;
  const total = Object.values(busy).reduce((sum, time) => sum + time, 0);
  const sorted = Object.entries(busy).toSorted(([, a], [, b]) => b - a);
  return {
    busySeconds: total / 1e6,
    rows: Object.fromEntries(
      sorted
        .filter(([, time]) => time > total / 100)
        .map(([name, time]) => [name, { percent: (100 * time) / total }]),
    ),
  };
}

function packageOf(url) {
  const path = url.replace('file://', '');
  const folder = join(root, 'packages/');
  if (path.startsWith(folder)) return `@raccoon/${path.slice(folder.length).split('/')[0]}`;
  const installed = path.split('node_modules/').at(-1);
  if (installed === path) return url.replace(/^node:(internal\/)?(\w+).*/, 'node:$2');
  const parts = installed.split('/');
  return parts.slice(0, installed.startsWith('@') ? 2 : 1).join('/');
}
