import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { credentials, Client } from '@grpc/grpc-js';
import { expect, onTestFinished, test } from 'vitest';
import { expectFailure, expectSuccess, lines, raccoon, startCloud } from '../helpers/cli.ts';
import { root, sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';

// What an operator does with `raccoon cloud`, and what docs/operations.md says of it.

const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');

/** Everything in backticks in the first column of the page's tables, by what it looks like. */
function documented(pattern: RegExp): string[] {
  const cells = [...page.matchAll(/^\| ([^|]+?) *\|/gm)].map(([, cell]) => cell!);
  return [
    ...new Set(cells.flatMap((cell) => [...cell.matchAll(pattern)].map(([, name]) => name!))),
  ].toSorted();
}

function started(...args: string[]): ReturnType<typeof startCloud> {
  return startCloud('--bundle', shippedBundle, ...args);
}

function get(address: string, path: string): Promise<string> {
  return fetch(`http://${address}${path}`).then((answer) => answer.text());
}

/** grpc.health.v1: 1 is SERVING, 2 NOT_SERVING; the rest is gRPC's status. */
function health(address: string, service: string): Promise<number | string> {
  const client = new Client(address, credentials.createInsecure());
  onTestFinished(() => client.close());
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      '/grpc.health.v1.Health/Check',
      (name: string) => Buffer.from([0x0a, name.length, ...Buffer.from(name)]),
      (answer: Buffer) => answer[1]!,
      service,
      (error, status) => resolve(error ? error.details : status!),
    );
  });
}

test('every flag is on the page, and nothing else', async () => {
  const { stdout } = await raccoon(['cloud', '--help']);
  const flags = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(([, flag]) => flag!);
  expect(flags).toContain('--listen');
  expect(documented(/`(--[a-z-]+)`/g)).toEqual(flags.filter((flag) => flag !== '--help').toSorted());
});

test('every metric is on the page, and nothing else; health and readiness agree', async () => {
  const cloud = await started('--metrics-port', '0');
  const { address } = cloud;
  const [, metrics] = /metrics on (\S+)/.exec(await cloud.printed(/metrics on .*\n/))!;
  const text = await get(metrics!, '/metrics');
  const names = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name!);
  expect(documented(/`((?:raccoon|process|nodejs)_[a-z0-9_]+)`/g)).toEqual(names.toSorted());
  expect(text).toContain('raccoon_ready 1\n');
  expect(await get(metrics!, '/readyz')).toBe('ok\n');
  for (const service of ['', 'raccoon.v1.Raccoon', 'imagenet1k-mobilenet']) {
    expect(await health(address, service), service).toBe(1);
  }
  expect(await health(address, 'nobody')).toContain('nobody');
});

test('an admin call drains, as a signal does', async () => {
  const cloud = await started('--admin-port', '0');
  const [, admin] = /admin on (\S+)/.exec(await cloud.printed(/admin on .*\n/))!;
  expect(JSON.parse(await get(admin!, '/v1/status'))).toMatchObject({ phase: 'serving', ready: true });
  const headers = { 'content-type': 'application/json' };
  expect((await fetch(`http://${admin}/v1/drain`, { method: 'POST', headers })).status).toBe(202);
  expectSuccess(await cloud.ended);
});

test.each([
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const)('a second %s ends it at once, with %i', async (signal, code) => {
  const cloud = await started('--drain-seconds', '60', '--drain-grace-seconds', '30');
  cloud.child.kill(signal);
  await cloud.printed(/draining/);
  cloud.child.kill(signal);
  const end = await cloud.ended;
  expect(end).toMatchObject({ code, stderr: '' });
});

test.each<[string[], RegExp]>([
  [['--listen', '0.0.0.0:0'], /--listen 0\.0\.0\.0:0 .*--tls-cert.*--insecure/],
  [['--tls-cert', 'x.pem'], /--tls-cert and --tls-key belong together/],
  [['--admin-token', 'x'], /--admin-port/],
  [['--admin-port', '0.0.0.0:0'], /--admin-token/],
  [['--metrics-port', 'nowhere'], /--metrics-port takes a port/],
  [['--rate-limit', '0'], /--rate-limit.*above 0/],
  [['--drain-grace-seconds', '10'], /--drain-grace-seconds is part of --drain-seconds/],
  [['--log-level', 'loud'], /--log-level.*silent, error, warn/],
  [['--tokens', 'nowhere.json'], /--tokens nowhere\.json.*raccoon token/],
  [['--model-repository', 'nowhere'], /--model-repository nowhere cannot be read/],
])('it does not start with %j, and says the flag and the remedy', async (args, why) => {
  expectFailure(await raccoon(['cloud', '--workers', '1', ...args]), why);
});

test('keys, signature, trust', async () => {
  const folder = temporaryFolder();
  const key = join(folder, 'release');
  expectSuccess(await raccoon(['bundle', 'keygen', key]));
  expectFailure(await raccoon(['bundle', 'keygen', key]), /release\.key is there already/);
  const unsigned = await raccoon(['bundle', 'verify', shippedBundle, '--key', `${key}.pub`]);
  expectFailure(unsigned, /manifest\.sig.*raccoon bundle sign/);
  expectFailure(
    await raccoon(['cloud', '--bundle', shippedBundle, '--trust-key', `${key}.pub`]),
    /manifest\.sig/,
  );
  expectFailure(await raccoon(['bundle', 'sign', shippedBundle, '--key', `${key}.pub`]), /release\.pub/);
}, 300_000); // a limit for a hung process: six are started one after another

test('a token, and the line for the file', async () => {
  const made = await raccoon(['token', '--name', 'camera-1', '--images-per-second', '50', '--json']);
  expectSuccess(made);
  const { token, line } = JSON.parse(made.stdout) as { token: string; line: object };
  expect(line).toEqual({
    name: 'camera-1',
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    imagesPerSecond: 50,
  });
  expect(made.stdout).toContain(token);
  const file = join(temporaryFolder(), 'tokens.json');
  writeFileSync(file, JSON.stringify([line]));
  const { address, child, ended } = await started('--tokens', file);
  const nobody = await raccoon(['edge', sample('hen.jpg'), '--bundle', shippedBundle, '-c', address]);
  expectFailure(nobody, 'token');
  child.kill('SIGTERM');
  const end = await ended;
  expect(end.code).toBe(0);
  expect(lines(end.stderr)).toEqual([expect.stringContaining('without a token')]);
  expect(end.stderr).not.toContain(token);
  expectFailure(await raccoon(['token', '--name', 'a b']), /--name.*letters/);
}, 300_000);
