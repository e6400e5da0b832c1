import { join } from 'node:path';
import { connect } from '@raccoon/client';
import { startCloud as startHere } from '@raccoon/cloud';
import type { EncodedImage } from '@raccoon/edge';
import { connectGrpc } from '@raccoon/transport/node';
import { expect, onTestFinished, test } from 'vitest';
import { numbers, OipCaller, rawRequest } from '../conformance/oip/client.ts';
import { expectFailure, raccoon, startCloud } from '../helpers/cli.ts';
import { root, sample, samples, shippedBundle } from '../helpers/paths.ts';
import { freePorts, started } from '../infra/replicas.ts';
import { missing, tool } from '../infra/tools.ts';

// The Open Inference Protocol with the bundle that ships: the front beside the other ways in, the backend beside the embedded networks.

const MODEL = 'imagenet1k-mobilenet';
const haproxy = tool('haproxy');

/** oip/server.mjs with the bundle that ships. @returns its port */
async function startBackend(): Promise<number> {
  const [port] = await freePorts(1);
  const script = join(root, 'test/conformance/oip/server.mjs');
  const server = await started(process.execPath, [script, String(port), shippedBundle], {}, async () => {
    const caller = new OipCaller(`127.0.0.1:${port}`);
    const ready = await caller.call('ServerReady', {}, { deadlineMs: 1000 }).then(
      () => true,
      () => false,
    );
    caller.close();
    return ready;
  });
  expect(server.output()).toContain(`port ${port}`);
  return port!;
}

/** HAProxy before one cloud, by the configuration that ships. @returns where it listens */
async function startProxy(cloud: string): Promise<string> {
  const [listen, pages] = await freePorts(2);
  const folder = join(root, 'infra/haproxy');
  const args = ['-db', '-f', join(folder, 'common.cfg'), '-f', join(folder, 'plain.cfg')];
  const env: Record<string, string> = {
    RACCOON_LISTEN: `127.0.0.1:${listen}`,
    RACCOON_STATS: `127.0.0.1:${pages}`,
    RACCOON_REPLICA_1: cloud,
    RACCOON_REPLICA_2: cloud,
    RACCOON_REPLICA_3: cloud,
  };
  await started(haproxy!, args, env, async () => {
    const table = await (await fetch(`http://127.0.0.1:${pages}/stats;csv`)).text();
    return /^raccoon,replica-.*,UP,/m.test(table);
  });
  return `127.0.0.1:${listen}`;
}

test.skipIf(!haproxy)(
  `the same photos by the native stream, through HAProxy and by the front: the same top-1${missing('haproxy', haproxy)}`,
  async () => {
    const { address } = await startCloud('--bundle', shippedBundle);
    const proxy = await startProxy(address);
    const clients = await Promise.all(
      [address, proxy].map((cloud) => connect({ cloud, bundle: shippedBundle, threads: 1 })),
    );
    const callers = [address, proxy].map((at) => new OipCaller(at));
    onTestFinished(async () => {
      for (const client of clients) await client.close();
      for (const caller of callers) caller.close();
    });
    const encoded: EncodedImage[] = [];
    for (const photo of samples) encoded.push(await clients[0]!.edge.encode(photo));
    const native = clients.map((client) => Promise.all(encoded.map((image) => client.send('', image))));
    const [direct, throughProxy] = (await Promise.all(native)).map((all) =>
      all.map(({ top }) => top[0]!.index),
    );
    const request = rawRequest(
      MODEL,
      encoded.map(({ slices }) => slices[0]!),
      { parameters: { top_k: { int64Param: 1 } }, outputs: [{ name: 'classes' }] },
    );
    const [front, frontThroughProxy] = await Promise.all(
      callers.map(async (caller) => numbers(await caller.infer(request), 'classes')),
    );
    expect(direct).toHaveLength(17);
    expect(throughProxy).toEqual(direct);
    expect(front).toEqual(direct);
    expect(frontThroughProxy).toEqual(direct);
  },
  180_000,
);

test('a backend with the bundle that ships: the logits of the embedded networks, by raccoon cloud and raccoon edge', async () => {
  const port = await startBackend();
  const backend = `oip://127.0.0.1:${port}`;
  const remote = await startCloud('--bundle', shippedBundle, '--backend', backend, '--backend-batches', '2');
  await remote.printed(new RegExp(`the network runs at ${backend}`));
  const here = await startHere({ bundle: shippedBundle, listen: '127.0.0.1:0', workers: 1 });
  const client = await connect({ cloud: here.address, bundle: shippedBundle, threads: 1 });
  const links = [here.address, remote.address].map((at) => connectGrpc(at));
  onTestFinished(async () => {
    for (const link of links) await link.close();
    await client.close();
    await here.close();
  });
  for (const photo of samples.slice(0, 5)) {
    const [payload] = (await client.edge.encode(photo)).slices;
    const [mine, theirs] = await Promise.all(
      links.map((link) => link.inferOnce({ id: 1, payload: payload!, wantLogits: true })),
    );
    expect(theirs!.result!.top[0]!.index).toBe(mine!.result!.top[0]!.index);
    const logits = mine!.result!.logits!;
    const scale = Math.max(...logits.map(Math.abs));
    const worst = Math.max(...logits.map((logit, k) => Math.abs(logit - theirs!.result!.logits![k]!)));
    expect(worst / scale).toBeLessThan(1e-4);
  }
  const edge = await raccoon(['edge', sample('hen.jpg'), '--cloud', remote.address]);
  expect(edge.stdout).toMatch(/hen/);
  remote.child.kill('SIGTERM');
  expect((await remote.ended).code).toBe(0);
}, 180_000);

test.each([
  [['--backend', 'triton:8001'], '--backend takes oip://host:port/model'],
  [['--backend', 'oip://triton.example:8001'], 'goes to another machine without TLS: oips://, or --insecure'],
  [['--backend-ca', 'ca.pem'], '--backend-ca is about the backend: give --backend, too'],
  [['--backend', 'oip://localhost:1', '--backend-batches', '0'], 'at least 1'],
])('flags that cannot be: %j', async (flags, why) => {
  expectFailure(await raccoon(['cloud', '--listen', '127.0.0.1:0', ...flags]), why);
});
