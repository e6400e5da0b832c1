import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import {
  openService,
  startCloud,
  type Cloud,
  type CloudOptions,
  type LocalService,
  type ServiceBackend,
} from '@raccoon/cloud';
import type { InferRequest, InferResponse } from '@raccoon/transport';
import { connectGrpc } from '@raccoon/transport/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TINY, tinyPayloads, writeTinyBundle } from '../helpers/tiny-bundle.mjs';
import { temporaryFolder } from '../helpers/paths.ts';
import { Authority } from './certificates.ts';

// A service whose networks a server of the Open Inference Protocol runs: another process, by the .proto file alone (oip/server.mjs).

const script = fileURLToPath(new URL('oip/server.mjs', import.meta.url));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A server that runs a bundle. */
class OtherServer {
  readonly port: number;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(
    paths: string | string[],
    port = 0,
    env: Record<string, string> = {},
  ): Promise<OtherServer> {
    const child = spawn(process.execPath, [script, String(port), ...[paths].flat()], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    cleanups.push(() => child.kill('SIGKILL'));
    const [line]: unknown[] = await once(child.stdout, 'data');
    return new OtherServer(child, Number(/port (\d+)/.exec(String(line))![1]));
  }

  /** From now on it behaves like that. */
  async be(mode: string): Promise<void> {
    this.#child.stdin.write(`${mode}\n`);
    await once(this.#child.stdout, 'data');
  }

  async kill(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  get url(): string {
    return `oip://127.0.0.1:${this.port}`;
  }
}

/** A TCP proxy whose connections can be cut while it goes on listening. */
class Line {
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(target: number) {
    this.#server = createServer((client) => {
      const server = connect(target, '127.0.0.1');
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from);
        from.on('error', () => undefined).on('close', () => to.destroy());
        from.pipe(to);
      }
    });
    cleanups.push(() => {
      this.#server.close();
      this.cut();
    });
  }

  /** @returns its port */
  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}

let path: string;
let bundle: Bundle;
let payloads: Uint8Array[];
let other: OtherServer;
beforeEach(async () => {
  path = await writeTinyBundle(temporaryFolder(), { scale: 3 });
  bundle = await openBundle(path);
  payloads = tinyPayloads(bundle, 40);
  other = await OtherServer.start(path);
});

type Settings = Partial<CloudOptions> & Partial<ServiceBackend>;

async function cloudWith({
  url = other.url,
  ca,
  timeoutMs = 5000,
  batches = 4,
  ...options
}: Settings = {}): Promise<Cloud> {
  const cloud = await startCloud({
    bundle,
    listen: '127.0.0.1:0',
    workers: 1,
    backend: { url, timeoutMs, batches, ...(ca !== undefined && { ca }) },
    ...options,
  });
  cleanups.push(() => cloud.close(0));
  return cloud;
}

async function ask(
  cloud: Cloud,
  images = payloads,
  rest: Partial<InferRequest> = {},
): Promise<InferResponse[]> {
  const transport = connectGrpc(cloud.address);
  try {
    const requests = images.map((payload, i) => ({ id: i + 1, payload, wantLogits: true, ...rest }));
    return await Promise.all(requests.map((request) => transport.inferOnce(request)));
  } finally {
    await transport.close();
  }
}

async function embedded(): Promise<LocalService> {
  const service = await openService({ bundle, workers: 1 });
  cleanups.push(() => service.close());
  return service;
}

const context = { signal: new AbortController().signal, peer: 'test', caller: { name: 'test' } };
const codes = (answers: readonly InferResponse[]): Set<string> =>
  new Set(answers.map(({ error }) => error?.code ?? 'ok'));

/** Resolves when the service says that of itself. */
async function until(cloud: Cloud, ready: boolean): Promise<void> {
  while (cloud.status().ready !== ready) await new Promise((resolve) => setTimeout(resolve, 20));
}

test('the same logits as from the networks of the bundle, for images in batches of any size', async () => {
  const cloud = await cloudWith({ maxBatch: 8 });
  const answers = await ask(cloud);
  const { service } = await embedded();
  for (const [i, payload] of payloads.entries()) {
    const { result } = await service.infer({ id: 1, payload, wantLogits: true }, context);
    const { result: there } = answers[i]!;
    expect(there!.top.map(({ index }) => index)).toEqual(result!.top.map(({ index }) => index));
    for (const [k, logit] of result!.logits!.entries()) expect(there!.logits![k]).toBeCloseTo(logit, 4);
  }
});

test('a damaged image harms nobody in its batch', async () => {
  const cloud = await cloudWith();
  const damaged = payloads.map((payload, i) =>
    i % 5 === 0 ? payload.map((b, at) => (at === 100 ? b ^ 1 : b)) : payload,
  );
  const answers = await ask(cloud, damaged);
  for (const [i, { error }] of answers.entries())
    expect(error?.code).toBe(i % 5 === 0 ? 'corrupt-bitstream' : undefined);
});

test('batches are there at the same time: as many as allowed, and answered out of order', async () => {
  const cloud = await cloudWith({ maxBatch: 1, batches: 3 });
  await other.be('slow');
  const transport = connectGrpc(cloud.address);
  cleanups.push(() => transport.close());
  const signal = new AbortController();
  const waiting = payloads
    .slice(0, 5)
    .map((payload, i) =>
      transport.inferOnce({ id: i + 1, payload }, { signal: signal.signal }).catch(() => undefined),
    );
  while (cloud.status().pipeline.inFlight < 3) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(cloud.status().pipeline).toMatchObject({ inFlight: 3, waiting: 2 });
  signal.abort();
  await Promise.all(waiting);
});

test('a worker that dies with several batches under way loses none of them', async () => {
  const workers: ChildProcess[] = [];
  const started = (message: unknown): void => {
    workers.push((message as { process: ChildProcess }).process);
  };
  subscribe('child_process', started);
  cleanups.push(() => unsubscribe('child_process', started));
  const cloud = await cloudWith({ maxBatch: 2 });
  await other.be('slow');
  const asked = ask(cloud, payloads.slice(0, 10)); // four batches there, one here
  while (cloud.status().pipeline.inFlight < 8) await new Promise((resolve) => setTimeout(resolve, 10));
  await other.be('good');
  workers
    .find(({ spawnargs }) => spawnargs.some((arg) => arg.endsWith('backend-worker.js')))!
    .kill('SIGKILL');
  expect(codes(await asked)).toEqual(new Set(['ok']));
});

test('a backend that answers nonsense: a typed error, and all is well once it is good again', async () => {
  const cloud = await cloudWith();
  for (const [mode, code, message] of [
    ['shape', 'internal', 'FP32 [1, 4], not FP32 [1, 3]'],
    ['dtype', 'internal', 'FP64 [1, 3], not FP32 [1, 3]'],
    ['mute', 'internal', 'answers with nothing'],
    ['nan', 'internal', 'no finite logits for this image'],
    ['full', 'overloaded', 'takes no more'],
  ] as const) {
    await other.be(mode);
    const [answer] = await ask(cloud, payloads.slice(0, 1));
    expect(answer!.error).toMatchObject({ code, message: expect.stringContaining(message) });
    await other.be('good');
    expect(codes(await ask(cloud)), mode).toEqual(new Set(['ok']));
  }
});

test('a backend that does not answer is not waited for', async () => {
  const cloud = await cloudWith({ timeoutMs: 300 });
  await other.be('slow');
  const answers = await ask(cloud, payloads.slice(0, 3));
  expect(codes(answers)).toEqual(new Set(['unavailable']));
  expect(answers[0]!.error!.message).toContain('has not answered within 300 ms');
  await other.be('good');
  expect(codes(await ask(cloud))).toEqual(new Set(['ok']));
});

test('a client that waits less is told sooner', async () => {
  const cloud = await cloudWith({ timeoutMs: 20_000 });
  await other.be('slow');
  const [answer] = await ask(cloud, payloads.slice(0, 1), { timeoutMs: 100 });
  expect(answer!.error).toMatchObject({ code: 'deadline' });
});

test('a connection that breaks costs no image: the backend is asked once more', async () => {
  const line = new Line(other.port);
  const cloud = await cloudWith({
    url: `oip://127.0.0.1:${await line.listen()}`,
    metricsListen: '0',
    maxBatch: 1,
  });
  await other.be('slow');
  const asked = ask(cloud, payloads.slice(0, 4));
  while (cloud.status().pipeline.inFlight < 4) await new Promise((resolve) => setTimeout(resolve, 10));
  await other.be('good');
  line.cut();
  expect(codes(await asked)).toEqual(new Set(['ok']));
  const text = await (await fetch(`http://${cloud.metricsAddress}/metrics`)).text();
  expect(text).toMatch(/^raccoon_backend_ready 1$/m);
  expect(text).toMatch(/^raccoon_backend_retries_total 4$/m);
});

test('a backend that is gone: not ready within moments, refused at the door, and back with it', async () => {
  const cloud = await cloudWith({ metricsListen: '0' });
  const { port } = other;
  await other.kill();
  await until(cloud, false);
  expect(cloud.status().why).toMatch(/^model tiny-colours of the backend 127\.0\.0\.1:\d+ is not ready: /);
  expect((await fetch(`http://${cloud.metricsAddress}/readyz`)).status).toBe(503);
  expect((await fetch(`http://${cloud.metricsAddress}/healthz`)).status).toBe(200);
  const [answer] = await ask(cloud, payloads.slice(0, 1));
  expect(answer!.error).toMatchObject({ code: 'unavailable', retryAfterMs: 1000 });
  const text = await (await fetch(`http://${cloud.metricsAddress}/metrics`)).text();
  expect(text).toMatch(/^raccoon_backend_ready 0$/m);
  expect(text).toContain('code="unavailable",reason="backend-not-ready"');
  await OtherServer.start(path, port);
  await until(cloud, true);
  expect(codes(await ask(cloud))).toEqual(new Set(['ok']));
});

test('readiness is what the backend says of its model', async () => {
  const cloud = await cloudWith();
  await other.be('not-ready');
  await until(cloud, false);
  expect(cloud.status().why).toContain('is not ready');
  await other.be('good');
  await until(cloud, true);
});

test('the service starts before its backend, and waits for it', async () => {
  const { port } = other;
  await other.kill();
  const starting = cloudWith({ url: `oip://127.0.0.1:${port}` });
  await new Promise((resolve) => setTimeout(resolve, 500));
  await OtherServer.start(path, port);
  const cloud = await starting;
  expect(codes(await ask(cloud))).toEqual(new Set(['ok']));
});

test('another network under that name is found out at the start', async () => {
  const wrong = await OtherServer.start(await writeTinyBundle(temporaryFolder(), { scale: 2 }));
  await expect(cloudWith({ url: wrong.url })).rejects.toMatchObject({
    code: 'backend',
    message: expect.stringContaining(
      `model ${TINY} of the backend 127.0.0.1:${wrong.port} answers like another network: it needs decoder and classifier of ${TINY}@1.0.0`,
    ),
  });
});

test('and when it comes in place of the right one', async () => {
  const cloud = await cloudWith();
  const { port } = other;
  await other.kill();
  await until(cloud, false);
  const wrong = await OtherServer.start(await writeTinyBundle(temporaryFolder(), { scale: 2 }), port);
  while (!cloud.status().why?.includes('like another network'))
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(codes(await ask(cloud, payloads.slice(0, 2)))).toEqual(new Set(['unavailable']));
  await wrong.kill();
  await OtherServer.start(path, port);
  await until(cloud, true);
});

test('versions come while it runs: one that the backend has is taken, one that it has not changes nothing', async () => {
  const repository = temporaryFolder();
  const add = (version: string, scale: number): Promise<string> =>
    writeTinyBundle(repository, { version, scale, folder: version });
  const [one, two] = [
    await add('1.0.0', 3),
    await writeTinyBundle(temporaryFolder(), { version: '2.0.0', scale: 4 }),
  ];
  const both = await OtherServer.start([one, two]);
  const url = `${both.url}/{name}-{version}`;
  const cloud = await cloudWith({ bundle: [], modelRepository: repository, url });
  const [first] = await ask(cloud, payloads.slice(0, 1));
  await add('2.0.0', 4);
  await cloud.reload();
  const [second] = await ask(cloud, payloads.slice(0, 1));
  expect([first!.bundleVersion, second!.bundleVersion]).toEqual(['1.0.0', '2.0.0']);
  expect(second!.result!.logits![0]! / first!.result!.logits![0]!).toBeCloseTo(16 / 9, 4); // of that very network
  await add('3.0.0', 5);
  const error = expect.stringContaining(
    `model ${TINY}-3.0.0 of the backend 127.0.0.1:${both.port} is not ready`,
  );
  expect(await cloud.reload()).toContainEqual(
    expect.objectContaining({ version: '3.0.0', state: 'failed', error }),
  );
  expect(cloud.status().ready).toBe(true);
  expect((await ask(cloud, payloads.slice(0, 1)))[0]!.bundleVersion).toBe('2.0.0');
});

test('an authority that is none', async () => {
  const ca = join(temporaryFolder(), 'ca.pem');
  writeFileSync(ca, 'nothing');
  await expect(cloudWith({ url: 'oips://localhost:1', ca })).rejects.toMatchObject({
    code: 'bad-request',
    message: expect.stringContaining(ca),
  });
});

test('over TLS, by the authority that signed the certificate', async () => {
  const authority = new Authority();
  cleanups.push(() => authority.remove());
  const { cert, key } = authority.issue('backend', { names: ['localhost'] });
  const secure = await OtherServer.start(path, 0, { OIP_CERT: cert, OIP_KEY: key });
  const url = `oips://localhost:${secure.port}`;
  const cloud = await cloudWith({ url, ca: authority.ca });
  expect(codes(await ask(cloud))).toEqual(new Set(['ok']));
});

test('a drain lets the backend finish', async () => {
  const cloud = await cloudWith({ maxBatch: 4 });
  const asked = ask(cloud);
  while (cloud.status().pipeline.inFlight === 0) await new Promise((resolve) => setImmediate(resolve));
  await cloud.close(10_000);
  const answers = await asked;
  expect(
    answers.map(({ error }) => error?.code).filter((code) => code !== undefined && code !== 'unavailable'),
  ).toEqual([]);
  expect(answers.some(({ result }) => result)).toBe(true);
});

test.each([
  [{ timeoutMs: 40_000 }, 'option', '--backend-timeout-ms 40000: a worker is killed after 30000 ms'],
  [{ url: 'http://x' }, 'option', '--backend takes oip://host:port/model'],
  [{ url: 'oip://triton:8001' }, 'insecure', 'goes to another machine without TLS'],
])('%j is refused', async (settings, code, message) => {
  await expect(cloudWith(settings)).rejects.toMatchObject({
    code,
    message: expect.stringContaining(message),
  });
});
