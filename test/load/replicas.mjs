import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Edge, fleet, shares } from '../helpers/fleet.mjs';
import { random } from '../helpers/random.mjs';
import { root } from '../helpers/report.mjs';
import { freePort } from '../helpers/service.mjs';
import { median } from '../helpers/statistics.mjs';

export const about = `Several replicas and the client that balances them: throughput from 1 to 4, one that slows down, one that is added.
Real services; their workers sleep for a batch of images as long as a network would take, so that two processors can stand
for several machines. One is added to what a name stands for, and behind HAProxy (skipped where that is missing).`;

export const options = {
  seconds: { default: 6, about: 'of each measurement' },
  rounds: { default: 3, about: 'of each' },
  short: { default: false, about: 'one round of a second' },
};

const TIME = { batchMs: 10, imageMs: 10 };
const MAX_BATCH = 8;
/** Images per second of one replica with full batches. */
const CAPACITY = (1000 * MAX_BATCH) / (TIME.batchMs + MAX_BATCH * TIME.imageMs);
/** Images per second of Poisson arrivals at three of them. */
const RATE = 0.35 * 3 * CAPACITY;
/** Longest time for a new replica to have its share, s. */
const SOON = 10;
/** Of an even share, what counts as having it. */
const ENOUGH = 0.8;

export async function run({ seconds, rounds, short }, report) {
  const [length, times] = short ? [1, 1] : [seconds, rounds];
  report.note(
    `a batch of n sleeps ${TIME.batchMs} + ${TIME.imageMs} n ms, n <= ${MAX_BATCH}: ${CAPACITY.toFixed(0)} images/s a replica; ` +
      `${times} rounds of ${length} s`,
  );
  const { replicas, folder, payloads } = await fleet(4, TIME, ['--max-batch', `${MAX_BATCH}`]);
  for (const replica of replicas) await replica.start();
  await throughput(replicas, folder, payloads, { length, times }, report);
  await slowed(replicas.slice(0, 3), folder, payloads, { length, times }, report);
  await named(replicas.slice(0, 3), folder, payloads, { times }, report);
  for (const { service } of replicas) await service.stop();
  await proxied(folder, payloads, { times }, report);
}

/** As many images under way as keep every replica busy. */
async function throughput(replicas, folder, payloads, { length, times }, report) {
  const rates = new Map();
  for (let round = 0; round < times; round++) {
    for (let count = 1; count <= replicas.length; count++) {
      const cloud = replicas.slice(0, count).map(({ address }) => address);
      const edge = await Edge.connect({ cloud, bundle: folder }, payloads);
      edge.loop(3 * MAX_BATCH * count);
      await sleep(1500);
      edge.forget();
      await sleep(1000 * length);
      rates.set(count, [...(rates.get(count) ?? []), edge.times.length / length]);
      await edge.stop();
      for (const failure of edge.failures) report.note(failure);
    }
  }
  const one = median(rates.get(1));
  report.table(
    'images/s by replicas, medians',
    Object.fromEntries(
      [...rates].map(([count, all]) => [count, { 'images/s': median(all), times: median(all) / one }]),
    ),
  );
  const gains = rates.get(4).map((rate, i) => rate / rates.get(1)[i]);
  report.bar('throughput of 4 replicas over that of 1', median(gains), '>=', 3.8, { timed: true });
}

const LOADS = {
  'images under way': async (edge, length) => {
    edge.loop(3 * 3 * MAX_BATCH); // all are busy
    await sleep(1000 * length);
  },
  'images a second': (edge, length, round) => edge.poisson(RATE, length, random(round + 1)),
};

/** One of three takes three times as long: at a fixed number of images under way, and at a fixed rate of them. */
async function slowed(replicas, folder, payloads, { length, times }, report) {
  const cloud = replicas.map(({ address }) => address);
  const rows = {};
  const ratios = { 'images under way': [], 'images a second': [] };
  const slowShares = [];
  for (let round = 0; round < times; round++) {
    for (const [kind, load] of Object.entries(LOADS)) {
      const seen = [];
      for (const factor of [1, 3]) {
        const edge = await Edge.connect({ cloud, bundle: folder }, payloads);
        replicas[0].slow(factor);
        await edge.poisson(RATE, 2, random(99)); // until the reports say so
        edge.forget();
        await shares(replicas);
        await load(edge, length, round);
        seen.push({ p50: edge.quantile(0.5), p99: edge.quantile(0.99), shares: await shares(replicas) });
        await edge.stop();
        for (const failure of edge.failures) report.note(failure);
      }
      replicas[0].slow(1);
      const [before, after] = seen;
      ratios[kind].push(after.p99 / before.p99);
      if (kind === 'images under way') slowShares.push(after.shares[0]);
      for (const [when, { p50, p99, shares: each }] of Object.entries({ before, after })) {
        rows[`${kind}, ${when}, round ${round + 1}`] = {
          p50,
          p99,
          'share of it, %': each[0],
          'of the others': each[1],
        };
      }
    }
  }
  report.table('one of three replicas slowed 3 times: ms', rows);
  const capacity = 100 / 7;
  report.bar('share of the slow one over that of its capacity', median(slowShares) / capacity, '>=', 0.75, {
    timed: true,
  });
  report.bar('and at most', median(slowShares) / capacity, '<=', 1.25, { timed: true });
  for (const [kind, all] of Object.entries(ratios)) {
    report.bar(`p99 after over before, at a fixed number of ${kind}`, median(all), '<=', 1.5, {
      timed: true,
    });
  }
}

/** A third address for a name, under load. */
async function named(replicas, folder, payloads, { times }, report) {
  const port = replicas[0].address.split(':')[1];
  const hosts = replicas.map(({ address }) => address.split(':')[0]);
  const took = [];
  for (let round = 0; round < times; round++) {
    let listed = hosts.slice(0, 2);
    const dns = { resolve: async () => listed };
    const edge = await Edge.connect({ cloud: `dns:///replicas.test:${port}`, dns, bundle: folder }, payloads);
    edge.loop(24);
    await sleep(2000);
    listed = hosts;
    took.push(await untilShared(replicas));
    await edge.stop();
    for (const failure of edge.failures) report.note(failure);
  }
  report.table('s until a replica that was added has its share', { 'in the name': row(took) });
  report.bar('s, at most, of one added to a name', Math.max(...took), '<=', SOON, { timed: true });
}

/** A third replica starts behind HAProxy, under load; connections of the others grow old. */
async function proxied(folder, payloads, { times }, report) {
  if (spawn('haproxy', ['-v'], { stdio: 'ignore' }).on('error', () => undefined).pid === undefined) {
    report.note('haproxy is missing (apt-get install haproxy): nothing is shown of a balancer');
    return;
  }
  const args = ['--max-batch', `${MAX_BATCH}`, '--max-connection-age-seconds', '4'];
  const { replicas } = await fleet(3, TIME, args);
  const [listen, stats] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  for (const replica of replicas.slice(0, 2)) await replica.start();
  const proxy = balance(listen, stats, replicas);
  const took = [];
  for (let round = 0; round < times; round++) {
    await up(stats, 2);
    const edge = await Edge.connect({ cloud: listen, streams: 6, bundle: folder }, payloads);
    edge.loop(24);
    await sleep(2000);
    await replicas[2].start();
    await up(stats, 3);
    took.push(await untilShared(replicas));
    await edge.stop();
    for (const failure of edge.failures) report.note(failure);
    await replicas[2].service.stop();
  }
  proxy.kill();
  for (const { service } of replicas.slice(0, 2)) await service.stop();
  report.table('s until a replica that was added has its share', {
    'behind HAProxy, age 4 s, 6 streams': row(took),
  });
  report.bar('s, at most, of one added behind HAProxy', Math.max(...took), '<=', SOON, { timed: true });
}

/** Seconds until the last one has its share for a second. */
async function untilShared(replicas) {
  const since = performance.now();
  await shares(replicas);
  for (;;) {
    await sleep(1000);
    const seconds = (performance.now() - since) / 1000;
    if ((await shares(replicas)).at(-1) >= (ENOUGH * 100) / replicas.length || seconds > 4 * SOON)
      return seconds;
  }
}

const row = (took) => ({ median: median(took), max: Math.max(...took) });

function balance(listen, stats, replicas) {
  const folder = join(root, 'infra/haproxy');
  const addresses = Object.fromEntries(
    replicas.map(({ address }, i) => [`RACCOON_REPLICA_${i + 1}`, address]),
  );
  const child = spawn('haproxy', ['-db', '-f', join(folder, 'common.cfg'), '-f', join(folder, 'plain.cfg')], {
    env: { ...process.env, RACCOON_LISTEN: listen, RACCOON_STATS: stats, ...addresses },
    stdio: 'ignore',
  });
  process.on('exit', () => child.kill('SIGKILL'));
  return child;
}

/** Until the proxy gives streams to so many, and to no more. */
async function up(stats, count) {
  for (;;) {
    const table = await fetch(`http://${stats}/stats;csv`).then(
      (answer) => answer.text(),
      () => '',
    );
    if (table.split('\n').filter((line) => /^raccoon,replica-.*,UP,/.test(line)).length === count) return;
    await sleep(100);
  }
}
