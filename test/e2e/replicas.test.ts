import { openBundle } from '@raccoon/bundle/node';
import { connect } from '@raccoon/client';
import { startCloud } from '@raccoon/cloud';
import { expect, onTestFinished, test } from 'vitest';
import { Authority } from '../conformance/certificates.ts';
import { expectSuccess, lines, raccoon } from '../helpers/cli.ts';
import { built, samples, sample, shippedBundle } from '../helpers/paths.ts';

// Several real services, and one client that shares its images out.

/** A service on this machine's address `127.0.0.<last>`, and how many images it has answered. */
async function replica(last: number, port = 0, tls?: { cert: string; key: string }) {
  built('packages/cloud/dist/worker.js');
  const cloud = await startCloud({
    bundle: shippedBundle,
    workers: 1,
    listen: `127.0.0.${last}:${port}`,
    metricsListen: '127.0.0.1:0',
    ...(tls && { tls }),
  });
  onTestFinished(() => cloud.close(0));
  const answered = async (): Promise<number> => {
    const text = await (await fetch(`http://${cloud.metricsAddress}/metrics`)).text();
    return Number(/^raccoon_requests_total\{.*code="ok".*\} (\d+)/m.exec(text)?.[1] ?? 0);
  };
  return { cloud, answered };
}

test('a name over TLS: its addresses share the images, and the certificate is for the name', async () => {
  const authority = new Authority();
  onTestFinished(() => authority.remove());
  const tls = authority.issue('cloud', { names: ['raccoon.internal'] });
  const one = await replica(2, 0, tls);
  const { port } = one.cloud;
  const other = await replica(3, port, tls);
  let addresses = ['127.0.0.2', '127.0.0.3'];
  const client = await connect({
    cloud: `dns:///raccoon.internal:${port}`,
    dns: { resolve: async () => addresses, intervalMs: 200 },
    tls: { ca: authority.ca },
    bundle: await openBundle(shippedBundle),
    threads: 1,
  });
  onTestFinished(() => client.close());
  const connected: string[] = [];
  client.events.on('connected', ({ address }) => connected.push(address));
  const encoded = await client.edge.encode(sample('hen.jpg'));
  const ask = async (count: number): Promise<void> => {
    const answers = await Promise.all(Array.from({ length: count }, () => client.send('', encoded)));
    expect(new Set(answers.map(({ top }) => top[0]!.name))).toEqual(new Set(['hen']));
  };
  while ((await one.answered()) === 0 || (await other.answered()) === 0) await ask(6);

  const third = await replica(4, port, tls);
  addresses = ['127.0.0.2', '127.0.0.4'];
  while ((await third.answered()) === 0) await ask(6);
  expect(connected).toContain(`127.0.0.4:${port}`);
  const before = await other.answered();
  await ask(6);
  expect(await other.answered()).toBe(before); // it is not one of the name's any more
});

test('raccoon edge --cloud with several addresses', async () => {
  const [one, other] = [await replica(2), await replica(3)];
  const cloud = `${one.cloud.address},${other.cloud.address},dns:///localhost:${one.cloud.port}`;
  const { stdout, ...ended } = await raccoon([
    'edge',
    ...samples,
    '--cloud',
    cloud,
    '--streams',
    '2',
    '--json',
  ]);
  expectSuccess({ stdout, ...ended, stderr: ended.stderr.replace(/^\d+ images:.*\n/m, '') });
  expect(lines(stdout)).toHaveLength(samples.length);
  expect((await one.answered()) + (await other.answered())).toBe(samples.length);
});
