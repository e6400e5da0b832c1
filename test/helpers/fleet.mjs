// Replicas whose workers sleep instead of inferring, and edges that send images to them.
import { writeFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@raccoon/client';
import { temporaryFolder, tiny } from './payloads.mjs';
import { freePort, Service } from './service.mjs';
import { quantile } from './statistics.mjs';

const preload = pathToFileURL(join(import.meta.dirname, 'sleeping-worker.mjs')).href;

/** One replica: a process that can be killed and started again, and slowed down while it works. */
export class Replica {
  address;
  service;
  #args;
  #file;
  #time;
  #before = 0;

  /**
   * @param time { batchMs, imageMs } that a batch takes
   * @param file where the workers read that
   */
  constructor(address, args, time, file) {
    this.address = address;
    this.#args = args;
    this.#time = time;
    this.#file = file;
    this.slow(1);
  }

  async start() {
    const env = { NODE_OPTIONS: `--import=${preload}`, RACCOON_SLEEP: this.#file };
    this.service = await Service.start(['--workers', '1', ...this.#args], {
      listen: this.address,
      metrics: true,
      env,
    });
    this.#before = 0;
    return this;
  }

  /** Everything takes `times` as long, from the next batch on. */
  slow(times) {
    const { batchMs, imageMs } = this.#time;
    writeFileSync(
      `${this.#file}.new`,
      JSON.stringify({ batchMs: times * batchMs, imageMs: times * imageMs }),
    );
    renameSync(`${this.#file}.new`, this.#file);
  }

  /** Images that it has answered since it was asked last. */
  async answered() {
    const now = (await this.service.metrics()).requests('ok');
    const since = now - this.#before;
    this.#before = now;
    return since;
  }
}

/** `count` replicas at addresses of their own and one port; not started yet. */
export async function fleet(count, time, args = []) {
  const { folder, payloads } = await tiny();
  const port = await freePort();
  const sleeps = temporaryFolder();
  const all = ['--bundle', folder, ...args];
  const replicas = Array.from(
    { length: count },
    (_, i) => new Replica(`127.0.0.${i + 2}:${port}`, all, time, join(sleeps, `${i}.json`)),
  );
  return { replicas, folder, payloads };
}

/** Shares of what replicas have answered since they were asked last, in percent. */
export async function shares(replicas) {
  const counts = await Promise.all(replicas.map((replica) => replica.answered()));
  const all = counts.reduce((a, b) => a + b, 0);
  return counts.map((count) => (100 * count) / Math.max(1, all));
}

/** The client that ships, and what came of what it sent. Times in ms. */
export class Edge {
  answered = 0;
  /** Of answers since `forget`. */
  times = [];
  failures = [];
  /** Sent again: by why, and how often one image went at most. */
  resent = {};
  mostSends = 1;
  #client;
  #images;
  #expected = new Map();
  #stop = new AbortController();
  #loops = [];

  static async connect(options, payloads) {
    return new Edge(await connect({ threads: 1, ...options }), payloads);
  }

  constructor(client, payloads) {
    this.#client = client;
    this.#images = payloads.map(encoded);
    client.events.on('resent', ({ code, sends }) => {
      this.resent[code] = (this.resent[code] ?? 0) + 1;
      this.mostSends = Math.max(this.mostSends, sends + 1);
    });
  }

  /** Sends one image; it is another answer's than the first of that image's where it fails the check. */
  async send(index) {
    const at = index % this.#images.length;
    const since = performance.now();
    try {
      const { top } = await this.#client.send('', this.#images[at]);
      this.times.push(performance.now() - since);
      this.answered++;
      const answer = `${top[0].name} ${top[0].probability.toFixed(3)}`;
      if ((this.#expected.get(at) ?? answer) !== answer) this.failures.push(`image ${at}: ${answer}`);
      this.#expected.set(at, answer);
    } catch (error) {
      this.failures.push(`${error.code}: ${error.message}`);
    }
  }

  /** So many under way at any time, until `stop`. */
  loop(concurrency) {
    for (let first = 0; first < concurrency; first++) {
      this.#loops.push(
        (async () => {
          for (let i = first; !this.#stop.signal.aborted; i += concurrency) await this.send(i);
        })(),
      );
    }
  }

  /** Poisson arrivals for a while; a late one counts from when it was due. */
  async poisson(imagesPerSecond, seconds, random) {
    const begin = performance.now();
    const out = [];
    for (let due = 0, i = 0; due < 1000 * seconds; i++) {
      due -= (1000 * Math.log(1 - random())) / imagesPerSecond;
      await sleep(Math.max(0, begin + due - performance.now()));
      out.push(this.send(i));
    }
    await Promise.all(out);
  }

  forget() {
    this.times = [];
  }

  quantile(q) {
    return quantile(this.times, q);
  }

  async stop() {
    this.#stop.abort();
    await Promise.all(this.#loops);
    await this.#client.close();
  }
}

/** A bitstream as if an edge here had made it. */
function encoded(payload) {
  const nothing = { imageMs: 0, encoderMs: 0, codecMs: 0 };
  return { slices: [payload], point: 0, bytes: payload.length, ...nothing };
}
