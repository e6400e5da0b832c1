// `raccoon cloud` in a process of its own, as its operators run it.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { descendants } from './processes.mjs';
import { root } from './report.mjs';

export const shippedBundle = join(root, 'bundles/imagenet1k-mobilenet');

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export class Service {
  #metricsPort;
  stdout = '';
  stderr = '';

  constructor(child, metricsPort) {
    this.child = child;
    this.pid = child.pid;
    this.#metricsPort = metricsPort;
    running.add(child);
    child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    child.stderr
      .setEncoding('utf8')
      .on('data', (text) => (this.stderr = (this.stderr + text).slice(-65_536)));
    /** Resolves with the exit code, or the signal that ended it. */
    this.ended = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        running.delete(child);
        resolve(code ?? signal);
      });
    });
  }

  /**
   * `raccoon cloud` with these arguments; resolves when it serves.
   * @param options.metrics whether it has a port for them
   * @param options.nodeArgs for Node itself
   * @param options.env beside this process's
   */
  static async start(args = [], { listen = '127.0.0.1:0', metrics = false, nodeArgs = [], env = {} } = {}) {
    const metricsPort = metrics ? await freePort() : undefined;
    const program = join(root, 'packages/cli/bin/raccoon.js');
    const all = [
      'cloud',
      '--listen',
      listen,
      ...(metrics ? ['--metrics-port', String(metricsPort)] : []),
      ...args,
    ];
    const child = spawn(process.execPath, [...nodeArgs, program, ...all], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const service = new Service(child, metricsPort);
    await Promise.race([
      service.printed(/ on \S+:\d+, \d+ worker/),
      service.ended.then((code) => {
        throw new Error(`raccoon ${all.join(' ')} ended with ${code}:\n${service.stderr}`);
      }),
    ]);
    const [, address, workers] = / on (\S+:\d+), (\d+) worker/.exec(service.stdout);
    service.address = address;
    service.workers = Number(workers);
    return service;
  }

  async printed(pattern) {
    while (!pattern.test(this.stdout))
      await new Promise((resolve) => this.child.stdout.once('data', resolve));
  }

  /** The worker processes, at present. */
  workerPids() {
    return descendants(this.pid);
  }

  /** Every series of /metrics: `name{labels}` -> value. */
  async metrics() {
    const response = await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`);
    const text = await response.text();
    if (!response.ok) throw new Error(`/metrics answers ${response.status}: ${text}`);
    return new Metrics(text);
  }

  kill(signal) {
    this.child.kill(signal);
  }

  /** SIGTERM, and what it exits with. */
  async stop() {
    this.kill('SIGTERM');
    return await this.ended;
  }
}

/** Prometheus's text format, read. */
export class Metrics {
  series = [];

  constructor(text) {
    for (const line of text.split('\n')) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
      if (!match) continue;
      const labels = Object.fromEntries(
        Array.from(match[2]?.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g) ?? [], ([, name, value]) => [
          name,
          value,
        ]),
      );
      this.series.push({ name: match[1], labels, value: Number(match[3]) });
    }
  }

  /** The sum of the series that have these labels. */
  sum(name, labels = {}) {
    return this.series
      .filter(
        (series) =>
          series.name === name &&
          Object.entries(labels).every(([key, value]) => series.labels[key] === value),
      )
      .reduce((sum, { value }) => sum + value, 0);
  }

  /** Requests that ended with a code. */
  requests(code) {
    return this.sum('raccoon_requests_total', { code });
  }

  /** Seconds, since the last scrape. */
  get eventLoopLagP99() {
    return this.sum('nodejs_eventloop_lag_p99_seconds');
  }
}

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
