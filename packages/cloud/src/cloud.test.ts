import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseManifest } from '@raccoon/bundle';
import { findBundle, openBundle } from '@raccoon/bundle/node';
import { encodeBitstream } from '@raccoon/codec';
import type { Transport } from '@raccoon/transport';
import { connectGrpc } from '@raccoon/transport/node';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startCloud, type Cloud, type CloudOptions } from './cloud.ts';
import { makeToken } from './tokens.ts';

// The whole service over its sockets: worker processes, gRPC, /metrics, admin calls.

const NAME = 'imagenet1k-mobilenet';
const shipped = findBundle(NAME);

let payload: Uint8Array;
beforeAll(async () => {
  const { codec, manifest } = await openBundle(NAME);
  const { channels, height: h, width: w } = manifest.latent;
  payload = encodeBitstream(new Int16Array(channels * h * w), { h, w }, 0, codec)[0]!;
});

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-cloud-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** The shipped bundle under another version, in one move. */
function put(repository: string, version: string): void {
  const incoming = join(repository, '.incoming');
  cpSync(shipped, incoming, { recursive: true });
  const file = join(incoming, 'manifest.json');
  const manifest = parseManifest(readFileSync(file, 'utf8'), shipped);
  writeFileSync(file, JSON.stringify({ ...manifest, version }));
  renameSync(incoming, join(repository, version));
}

async function start(options: CloudOptions): Promise<Cloud> {
  // a busy machine is no reason to refuse here
  const cloud = await startCloud({ listen: '127.0.0.1:0', workers: 1, maxQueueMs: 60_000, ...options });
  onTestFinished(() => cloud.close());
  return cloud;
}

function connect(cloud: Cloud, token?: string): Transport {
  const transport = connectGrpc(cloud.address, token === undefined ? {} : { token });
  onTestFinished(() => transport.close());
  return transport;
}

test('a new version takes over while requests come, without one that fails', async () => {
  const modelRepository = temporaryFolder();
  put(modelRepository, '1.0.0');
  const cloud = await start({ modelRepository, workers: 2, metricsListen: '0', adminListen: '0' });
  expect(cloud.status()).toMatchObject({ phase: 'serving', ready: true, models: [{ state: 'ready' }] });
  const transport = connect(cloud);
  const versions = new Set<string>();
  const stop = new AbortController();
  const traffic = (async () => {
    for (let id = 1; !stop.signal.aborted; id++) {
      const { error, result, bundleVersion } = await transport.inferOnce({ id, payload });
      expect(error).toBeUndefined();
      expect(result!.top).toHaveLength(5);
      versions.add(bundleVersion);
    }
  })();
  for (const version of ['1.1.0', '1.2.0']) {
    put(modelRepository, version);
    const reload = `http://${cloud.adminAddress}/v1/models/reload`;
    const answer = await fetch(reload, { method: 'POST', headers: { 'content-type': 'application/json' } });
    expect(answer.status).toBe(200);
    const { bundleVersion } = await transport.inferOnce({ id: 1_000_000, payload });
    expect(bundleVersion).toBe(version); // from the moment of the answer on
  }
  stop.abort();
  await traffic;
  expect([...versions].toSorted()).toEqual(expect.arrayContaining(['1.0.0', '1.2.0']));
  const metrics = await (await fetch(`http://${cloud.metricsAddress}/metrics`)).text();
  expect(metrics).toContain('raccoon_model_loads_total 3\n');
  expect(metrics).toMatch(new RegExp(`raccoon_requests_total{bundle="${NAME}",code="ok",reason=""} \\d`));
  expect(metrics).not.toMatch(/raccoon_requests_total{.*code="(?!ok")/);
  const info = await transport.getBundle();
  const onDisk = readFileSync(join(modelRepository, '1.2.0', 'manifest.json'));
  expect(Buffer.from(info.manifest)).toEqual(onDisk); // byte for byte: a signature holds
});

test('a caller by its token: its bundles, its rate, and nobody without one', async () => {
  const folder = temporaryFolder();
  const [good, other, slow] = [
    makeToken({ name: 'good' }),
    makeToken({ name: 'other', bundles: ['another'] }),
    makeToken({ name: 'slow', imagesPerSecond: 0.001 }),
  ];
  const tokens = join(folder, 'tokens.json');
  writeFileSync(tokens, JSON.stringify([good.line, other.line, slow.line]));
  const cloud = await start({ bundle: NAME, tokens, metricsListen: '0' });
  const ask = (token?: string) => connect(cloud, token).inferOnce({ id: 1, payload });
  expect((await ask(good.token)).result).toBeDefined();
  expect((await ask()).error).toMatchObject({ code: 'unauthenticated' });
  expect((await ask('rac_somebody')).error).toMatchObject({ code: 'unauthenticated' });
  expect((await ask(other.token)).error).toMatchObject({ code: 'forbidden' });
  const codes = [];
  for (let i = 0; i < 3; i++) codes.push((await ask(slow.token)).error?.code ?? 'ok');
  expect(codes).toContain('rate-limited');
  const metrics = await (await fetch(`http://${cloud.metricsAddress}/metrics`)).text();
  expect(metrics).toContain('raccoon_unauthenticated_total 2\n');
  expect(metrics).toContain('raccoon_caller_requests_total{caller="good",code="ok"} 1\n');
  expect(metrics).toContain('raccoon_caller_requests_total{caller="other",code="forbidden"} 1\n');
});

test('it is not ready before it is warm, nor while it drains, and close waits for what is in flight', async () => {
  const cloud = await start({ bundle: NAME, metricsListen: '0', drainGraceMs: 300 });
  const ready = async (): Promise<string> => (await fetch(`http://${cloud.metricsAddress}/readyz`)).text();
  expect(await ready()).toBe('ok\n');
  const transport = connect(cloud);
  const answers = Array.from({ length: 8 }, (_, i) => transport.inferOnce({ id: i + 1, payload }));
  await answers[0];
  const closed = cloud.close(60_000);
  expect(cloud.status()).toMatchObject({ phase: 'draining', ready: false, why: 'draining' });
  expect(await ready()).toBe('draining\n');
  for (const answer of await Promise.all(answers)) expect(answer.error).toBeUndefined();
  await closed;
  await cloud.close(); // again is not wrong
  expect(cloud.status()).toMatchObject({ phase: 'ended', ready: false });
  await expect(ready()).rejects.toThrow();
});

describe('what it refuses to start with', () => {
  const refused: [string, CloudOptions, string, RegExp][] = [
    [
      'open to all',
      { bundle: NAME, listen: '0.0.0.0:0' },
      'insecure',
      /--tls-cert and --tls-key, or --insecure/,
    ],
    ['open to all, v6', { bundle: NAME, listen: '[::]:0' }, 'insecure', /--insecure/],
    ['no address', { bundle: NAME, listen: 'here' }, 'option', /--listen takes host:port/],
    ['open admin', { bundle: NAME, adminListen: '0.0.0.0:0' }, 'insecure', /--admin-token/],
    ['no port', { bundle: NAME, metricsListen: 'x' }, 'option', /--metrics-port/],
    ['nothing', {}, 'no-bundle', /--bundle or --model-repository/],
    ['nobody', { bundle: NAME, tokens: '/nowhere.json' }, 'tokens', /--tokens \/nowhere\.json/],
    ['no key', { bundle: NAME, trustKeys: ['/nowhere.pub'] }, 'option', /--trust-key \/nowhere\.pub/],
  ];
  test.each(refused)('%s', async (_, options, code, why) => {
    const started = startCloud({ listen: '127.0.0.1:0', ...options });
    await expect(started).rejects.toMatchObject({ code, message: expect.stringMatching(why) });
  });

  test('an admin token that is short', async () => {
    const file = join(temporaryFolder(), 'token');
    writeFileSync(file, 'secret\n');
    const started = startCloud({ bundle: NAME, workers: 1, adminListen: '0', adminToken: file });
    await expect(started).rejects.toMatchObject({ code: 'tokens' });
  });

  test('a repository without a bundle', async () => {
    const modelRepository = temporaryFolder();
    mkdirSync(join(modelRepository, 'empty'));
    const started = startCloud({ modelRepository, workers: 1, listen: '127.0.0.1:0' });
    await expect(started).rejects.toMatchObject({ code: 'no-bundle' });
  });
});
