import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type Client } from '@raccoon/client';
import { makeToken, startCloud, type Cloud, type CloudOptions } from '@raccoon/cloud';
import { connectFetch, type FetchOptions } from '@raccoon/transport/fetch';
import { expect, onTestFinished, test } from 'vitest';
import { expectFailure, raccoon, startCloud as startCommand } from '../helpers/cli.ts';
import { sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';

// The HTTP endpoint of a whole service, asked by the client in Node; browsers are in test/browser.

async function start(options: Partial<CloudOptions> = {}): Promise<Cloud> {
  const cloud = await startCloud({
    bundle: shippedBundle,
    listen: '127.0.0.1:0',
    httpListen: '127.0.0.1:0',
    workers: 1,
    maxQueueMs: 60_000, // a busy machine is no reason to refuse here
    ...options,
  });
  onTestFinished(() => cloud.close());
  return cloud;
}

async function client(cloud: Cloud, options: FetchOptions = {}): Promise<Client> {
  const transport = connectFetch(`http://${cloud.httpAddress}`, options);
  const connected = await connect({ cloud: transport, bundle: shippedBundle });
  onTestFinished(() => connected.close());
  return connected;
}

test('it answers as gRPC does, and counts its connections', async () => {
  const cloud = await start();
  const overHttp = await client(cloud);
  const overGrpc = await connect({ cloud: cloud.address, bundle: shippedBundle });
  onTestFinished(() => overGrpc.close());
  for (const photo of ['hen.jpg', 'koala.jpg'].map(sample)) {
    const [one, other] = [await overHttp.classify(photo), await overGrpc.classify(photo)];
    expect(one.top).toEqual(other.top);
    expect(one.bytes).toBe(other.bytes);
  }
  expect(cloud.status().connections).toBeGreaterThanOrEqual(2);
});

test('its tokens are those of gRPC', async () => {
  const { token, line } = makeToken({ name: 'page' });
  const tokens = join(temporaryFolder(), 'tokens.json');
  writeFileSync(tokens, JSON.stringify([line]));
  const cloud = await start({ tokens });
  await expect(client(cloud)).rejects.toMatchObject({ code: 'unauthenticated' });
  expect((await (await client(cloud, { token })).classify(sample('hen.jpg'))).source).toBe('cloud');
});

test('it drains with the service: what is in flight is answered, then nobody is there', async () => {
  const cloud = await start({ maxBatchDelayMs: 200 });
  const connected = await client(cloud);
  const sent = new Promise<void>((resolve) => {
    const wait = (): void => {
      if (cloud.status().pipeline.waiting + cloud.status().pipeline.inFlight > 0) resolve();
      else setImmediate(wait);
    };
    wait();
  });
  const answer = connected.classify(sample('hen.jpg'));
  await sent;
  const closed = cloud.close(60_000);
  expect((await answer).source).toBe('cloud');
  await closed;
  await expect(client(cloud)).rejects.toMatchObject({ code: 'unavailable' });
});

test('beyond this machine it needs TLS, or to be told that it does not', async () => {
  const open = { httpListen: '0.0.0.0:0' };
  await expect(start(open)).rejects.toMatchObject({
    code: 'insecure',
    message: expect.stringMatching(/^--http 0\.0\.0\.0:0 is open to other machines/),
  });
});

test('raccoon cloud --http', async () => {
  const cloud = await startCommand(
    '--bundle',
    shippedBundle,
    '--http',
    '127.0.0.1:0',
    '--http-origin',
    'https://a.example',
  );
  const [, address] = /HTTP endpoint on (\S+)/.exec(await cloud.printed(/HTTP endpoint on .*\n/))!;
  const headers = { origin: 'https://a.example' };
  const answer = await fetch(`http://${address}/raccoon/v1/bundle`, { headers });
  expect(answer.headers.get('access-control-allow-origin')).toBe('https://a.example');
  expectFailure(await raccoon(['cloud', '--http-origin', '*']), /give --http, too/);
});
