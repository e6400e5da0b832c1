import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Client } from '@raccoon/client';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { Authority } from '../conformance/certificates.ts';
import { startCloud } from '../helpers/cli.ts';
import { root, sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';
import { freePorts, started } from './replicas.ts';
import { missing, run, tool, type ToolName } from './tools.ts';

// The balancers' configurations that ship, run by the real balancers before real replicas.

const NAME = 'raccoon.internal';
const CLIENTS = 6;

/** Where everything listens: the proxy, its own pages, and three replicas. */
interface Ports {
  readonly listen: number;
  readonly pages: number;
  readonly replicas: readonly number[];
}

/** PEM files of the proxy and of the replicas, signed by one authority. */
interface Tls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

interface Proxy {
  readonly name: ToolName;
  readonly program: string | undefined;
  /** Arguments and environment to check the configuration with, and to run it. */
  command(ports: Ports, tls?: Tls): { check: string[]; run: string[]; env: Record<string, string> };
  /** What its checker prints. */
  readonly valid: string;
  /** Replicas that it gives streams to. */
  healthy(ports: Ports): Promise<number>;
}

const haproxy: Proxy = {
  name: 'haproxy',
  program: tool('haproxy'),
  valid: 'Configuration file is valid',
  command({ listen, pages, replicas }, tls) {
    const folder = join(root, 'infra/haproxy');
    const files = ['-f', join(folder, 'common.cfg'), '-f', join(folder, tls ? 'tls.cfg' : 'plain.cfg')];
    const env: Record<string, string> = {
      RACCOON_LISTEN: `127.0.0.1:${listen}`,
      RACCOON_STATS: `127.0.0.1:${pages}`,
    };
    for (const [i, port] of replicas.entries()) env[`RACCOON_REPLICA_${i + 1}`] = `127.0.0.1:${port}`;
    if (tls) {
      const both = join(temporaryFolder(), 'both.pem');
      writeFileSync(both, readFileSync(tls.cert, 'utf8') + readFileSync(tls.key, 'utf8'));
      Object.assign(env, { RACCOON_TLS: both, RACCOON_TLS_CA: tls.ca, RACCOON_TLS_NAME: NAME });
    }
    return { check: ['-c', ...files], run: ['-db', ...files], env };
  },
  async healthy({ pages }) {
    const table = await (await fetch(`http://127.0.0.1:${pages}/stats;csv`)).text();
    return table.split('\n').filter((line) => /^raccoon,replica-.*,UP,/.test(line)).length;
  },
};

const envoyFile = (name: string): string => readFileSync(join(root, 'infra/envoy', name), 'utf8');

const envoy: Proxy = {
  name: 'envoy',
  program: tool('envoy'),
  valid: 'OK',
  command({ listen, pages, replicas }, tls) {
    let text = envoyFile(tls ? 'envoy-tls.yaml' : 'envoy.yaml')
      .replace('port_value: 9901', `port_value: ${pages}`)
      .replace('address: 0.0.0.0, port_value: 50051', `address: 127.0.0.1, port_value: ${listen}`);
    for (const [i, port] of replicas.entries()) {
      text = text.replace(
        `address: raccoon-${i + 1}, port_value: 50051`,
        `address: 127.0.0.1, port_value: ${port}`,
      );
    }
    if (tls) {
      text = text
        .replace('/tls/tls.crt', tls.cert)
        .replace('/tls/tls.key', tls.key)
        .replace('/tls/ca.crt', tls.ca);
    }
    const file = join(temporaryFolder(), 'envoy.yaml');
    writeFileSync(file, text);
    const quiet = ['--log-level', 'warn', '--use-dynamic-base-id', '--concurrency', '1'];
    return { check: ['--mode', 'validate', '-c', file], run: ['-c', file, ...quiet], env: {} };
  },
  async healthy({ pages }) {
    const page = await (await fetch(`http://127.0.0.1:${pages}/clusters`)).text();
    return page.split('\n').filter((line) => line.endsWith('::health_flags::healthy')).length;
  },
};

async function portsFor(): Promise<Ports> {
  const [listen, pages, ...replicas] = await freePorts(5);
  return { listen: listen!, pages: pages!, replicas };
}

async function start(proxy: Proxy, ports: Ports, healthy: number, tls?: Tls): Promise<void> {
  const { run: args, env } = proxy.command(ports, tls);
  await started(proxy.program!, args, env, async () => (await proxy.healthy(ports)) >= healthy);
}

async function connected(listen: number, ca?: string): Promise<Client> {
  const client = await connect({
    cloud: `${ca === undefined ? '127.0.0.1' : 'localhost'}:${listen}`,
    bundle: shippedBundle,
    threads: 1,
    ...(ca !== undefined && { tls: { ca } }),
  });
  onTestFinished(() => client.close());
  return client;
}

/** Requests that a replica has answered. */
async function answered(metrics: string): Promise<number> {
  const text = await (await fetch(`http://${metrics}/metrics`)).text();
  return Number(/^raccoon_requests_total\{.*code="ok".*\} (\d+)/m.exec(text)?.[1] ?? 0);
}

const authority = new Authority();
afterAll(() => authority.remove());

describe.each([haproxy, envoy])('$name', (proxy) => {
  const { program, name } = proxy;
  const skipped = missing(name, program);

  test.skipIf(!program)(`its configurations are valid${skipped}`, async () => {
    const ports = await portsFor();
    const tls = { ca: authority.ca, ...authority.issue(`valid-${name}`, { names: [NAME] }) };
    for (const { check, env } of [proxy.command(ports), proxy.command(ports, tls)]) {
      expect(await run(program!, check, { env })).toContain(proxy.valid);
    }
  });

  test.skipIf(!program)(
    `three replicas: each gets streams; one leaves under load and no image fails${skipped}`,
    async () => {
      const ports = await portsFor();
      const drain = ['--drain-seconds', '30', '--drain-grace-seconds', '5', '--metrics-port', '0'];
      const replicas = await Promise.all(
        ports.replicas.map(async (port) => {
          const cloud = await startCloud(
            '--bundle',
            shippedBundle,
            '--listen',
            `127.0.0.1:${port}`,
            ...drain,
          );
          const [, metrics] = /metrics on (\S+)/.exec(await cloud.printed(/metrics on .*\n/))!;
          return { ...cloud, metrics: metrics! };
        }),
      );
      await start(proxy, ports, 3);
      await sleep(1500); // until all of its threads know
      const clients = [];
      for (let i = 0; i < CLIENTS; i++) clients.push(await connected(ports.listen));

      const left: string[] = [];
      const outcomes: string[] = [];
      const running = new AbortController();
      const encoded = await clients[0]!.edge.encode(sample('hen.jpg'));
      const load = Promise.all(
        clients.map(async (client) => {
          client.events.on('disconnected', ({ error }) => left.push(error.code));
          while (!running.signal.aborted) {
            outcomes.push(
              await client.send('', encoded).then(
                ({ top }) => top[0]!.name,
                (error: Error) => `failed: ${error.message}`,
              ),
            );
            await sleep(100);
          }
        }),
      );
      await sleep(1000);
      const each = await Promise.all(replicas.map(({ metrics }) => answered(metrics)));
      expect(Math.min(...each), `answered by each: ${each.join(', ')}`).toBeGreaterThan(0);

      const [leaving, ...others] = replicas;
      leaving!.child.kill('SIGTERM');
      expect((await leaving!.ended).code).toBe(0);
      const before = outcomes.length;
      await sleep(1000);
      running.abort();
      await load;

      expect(new Set(outcomes)).toEqual(new Set(['hen'])); // and nothing that failed
      expect(outcomes.length).toBeGreaterThan(before);
      expect(left.length).toBeGreaterThan(0);
      expect(new Set(left)).toEqual(new Set(['draining']));
      for (const { child, ended } of others) {
        child.kill('SIGKILL');
        await ended;
      }
    },
    180_000,
  );

  test.skipIf(!program)(
    `TLS on both sides${skipped}`,
    async () => {
      const ports = await portsFor();
      const tls = { ca: authority.ca, ...authority.issue(`proxy-${name}`, { names: [NAME, 'localhost'] }) };
      const listen = ['--listen', `127.0.0.1:${ports.replicas[0]}`];
      await startCloud('--bundle', shippedBundle, ...listen, '--tls-cert', tls.cert, '--tls-key', tls.key);
      await start(proxy, ports, 1, tls);
      const client = await connected(ports.listen, tls.ca);
      expect((await client.classify(sample('hen.jpg'))).top[0]!.name).toBe('hen');
      await expect(connected(ports.listen)).rejects.toThrow();
    },
    180_000,
  );
});

test('Envoy with TLS is Envoy without, and two transport sockets', () => {
  let sockets = 0;
  const withoutTls: unknown = parse(envoyFile('envoy-tls.yaml'), (key, value: unknown) => {
    if (key !== 'transport_socket') return value;
    sockets++;
    return undefined;
  });
  expect(withoutTls).toEqual(parse(envoyFile('envoy.yaml')));
  expect(sockets).toBe(2);
});
