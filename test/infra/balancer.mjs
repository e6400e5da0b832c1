import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@raccoon/client';
import { tiny } from '../helpers/payloads.mjs';
import { root } from '../helpers/report.mjs';
import { freePort, Service } from '../helpers/service.mjs';

export const about = `Three replicas behind HAProxy, with infra/haproxy as it ships: one is asked to leave, one is killed, in turns.
The shipped client sends over streams that the proxy has balanced; what they fail to get an answer to is counted, and what they had to send again.`;

export const options = {
  rounds: { default: 20, about: 'of one SIGTERM and one kill -9 each' },
  clients: { default: 12, about: 'streams' },
  short: { default: false, about: 'two rounds' },
};

export async function run({ rounds, clients, short }, report) {
  const { folder, payloads } = await tiny();
  const listen = [];
  for (let i = 0; i < 5; i++) listen.push(`127.0.0.1:${await freePort()}`);
  const [proxy, stats, ...addresses] = listen;
  const drain = ['--drain-seconds', '20', '--drain-grace-seconds', '4'];
  const start = (at) =>
    Service.start(['--bundle', folder, '--workers', '1', ...drain], { listen: addresses[at] });
  const services = [await start(0), await start(1), await start(2)];
  const haproxy = balance(proxy, stats, addresses);
  await up(stats, 3);

  const traffic = new Edges(proxy, folder, payloads, clients);
  await traffic.connect();
  const exitCodes = [];
  for (let round = 0; round < (short ? 2 : rounds); round++) {
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const at = (2 * round + (signal === 'SIGKILL' ? 1 : 0)) % 3;
      traffic.cause = signal;
      await sleep(300 + 37 * round); // another moment of a batch each time
      services[at].kill(signal);
      const code = await services[at].ended;
      if (signal === 'SIGTERM') exitCodes.push(code);
      await sleep(300);
      services[at] = await start(at);
      await up(stats, 3);
    }
  }
  await traffic.stop();
  haproxy.kill();
  for (const service of services) service.kill('SIGKILL');

  for (const failure of traffic.failures) report.note(failure);
  const { SIGTERM, SIGKILL } = traffic.counts;
  report.table(`${exitCodes.length} times each, ${clients} streams`, { SIGTERM, SIGKILL });
  report.bar('images that failed', traffic.failures.length, '=', 0);
  report.bar('lost by a replica that left in good order', SIGTERM['lost, sent again'], '=', 0);
  report.bar('images answered', SIGTERM.answered + SIGKILL.answered, '>=', exitCodes.length);
  report.bar('exit codes that are not 0', exitCodes.filter((code) => code !== 0).length, '=', 0);
}

/** Clients that send one image after the other. */
class Edges {
  cause = 'SIGTERM';
  counts = { SIGTERM: none(), SIGKILL: none() };
  failures = [];
  running = true;
  #address;
  #folder;
  #payloads;
  #count;
  #clients = [];
  #loops;

  constructor(address, folder, payloads, count) {
    this.#address = address;
    this.#folder = folder;
    this.#payloads = payloads;
    this.#count = count;
  }

  async connect() {
    for (let i = 0; i < this.#count; i++) {
      const client = await connect({ cloud: this.#address, bundle: this.#folder, threads: 1 });
      client.events.on('disconnected', () => this.counts[this.cause]['streams that moved']++);
      client.events.on('resent', ({ code }) => {
        const counts = this.counts[this.cause];
        if (code === 'draining') counts['refused, sent again']++;
        else counts['lost, sent again']++;
      });
      this.#clients.push(client);
    }
    this.#loops = Promise.all(this.#clients.map((client, i) => this.#send(client, i)));
  }

  async stop() {
    this.running = false;
    await this.#loops;
    for (const client of this.#clients) await client.close();
  }

  async #send(client, first) {
    for (let i = first; this.running; i++) {
      const payload = this.#payloads[i % this.#payloads.length];
      const encoded = {
        slices: [payload],
        point: 0,
        bytes: payload.length,
        encoderMs: 0,
        codecMs: 0,
        imageMs: 0,
      };
      try {
        await client.send('', encoded);
        this.counts[this.cause].answered++;
      } catch (error) {
        this.failures.push(`${this.cause}: ${error.message}`);
      }
      await sleep(10);
    }
  }
}

const none = () => ({
  answered: 0,
  'streams that moved': 0,
  'refused, sent again': 0,
  'lost, sent again': 0,
});

function balance(listen, stats, addresses) {
  const folder = join(root, 'infra/haproxy');
  const replicas = Object.fromEntries(addresses.map((address, i) => [`RACCOON_REPLICA_${i + 1}`, address]));
  const child = spawn('haproxy', ['-db', '-f', join(folder, 'common.cfg'), '-f', join(folder, 'plain.cfg')], {
    env: { ...process.env, RACCOON_LISTEN: listen, RACCOON_STATS: stats, ...replicas },
    stdio: 'ignore',
  });
  child.on('error', () => {
    throw new Error('haproxy is missing: apt-get install haproxy');
  });
  process.on('exit', () => child.kill('SIGKILL'));
  return child;
}

/** Until the proxy gives streams to so many. */
async function up(stats, count) {
  for (;;) {
    const table = await fetch(`http://${stats}/stats;csv`).then(
      (answer) => answer.text(),
      () => '',
    );
    if (table.split('\n').filter((line) => /^raccoon,replica-.*,UP,/.test(line)).length >= count) return;
    await sleep(100);
  }
}
