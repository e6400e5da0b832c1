import { afterEach, expect, test } from 'vitest';
import {
  TransportError,
  type InferenceService,
  type InferResponse,
  type Transport,
} from '@raccoon/transport';
import { serveMemory } from '@raccoon/transport/memory';
import { connectGrpc, serveGrpc } from '@raccoon/transport/node';
import { Link } from './link.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const hello = { protocolMin: 1, protocolMax: 1, codecIds: ['0123456789ab'], client: 'test' };
const payload = Uint8Array.of(1);

/** Answers at once, and remembers who asked. */
class Echo implements InferenceService {
  readonly peers = new Set<string>();
  refusals = 0; // requests that are still to be answered with 'draining'

  hello(): ReturnType<InferenceService['hello']> {
    return { protocol: 1, codecIds: hello.codecIds, bundle: 'b', bundleVersion: '1' };
  }

  infer: InferenceService['infer'] = async ({ id }, { peer }): Promise<InferResponse> => {
    this.peers.add(peer);
    const answer = { id, queueMs: 0, decodeMs: 0, inferMs: 0, bundleVersion: '1' };
    await new Promise((resolve) => setImmediate(resolve));
    if (this.refusals-- > 0)
      return { ...answer, error: { code: 'draining', message: 'going', retryAfterMs: 0 } };
    return { ...answer, result: { top: [], margin: 0.5 } };
  };

  getBundle(): never {
    throw new TransportError('not-found', 'none');
  }

  async *fetchFile(): AsyncGenerator<Uint8Array> {
    yield payload;
  }
}

function link(transport: Transport): Link {
  const made = new Link(transport, hello);
  cleanups.push(() => made.close());
  return made;
}

test('connections that grow old cost no image', async () => {
  const service = new Echo();
  const server = await serveGrpc(service, { listen: '127.0.0.1:0', maxConnectionAgeMs: 300 });
  cleanups.push(() => server.close());
  const here = link(connectGrpc(server.address));
  const senders = Array.from({ length: 8 }, async () => {
    let answered = 0;
    while (service.peers.size < 4) {
      const { error } = await here.request({ payload });
      expect(error).toBeUndefined();
      answered++;
    }
    return answered;
  });
  for (const answered of await Promise.all(senders)) expect(answered).toBeGreaterThan(0);
});

test('a request that was refused because the cloud leaves is sent once more, and then no more', async () => {
  const service = new Echo();
  const here = link(serveMemory(service).connect());
  service.refusals = 1;
  expect((await here.request({ payload })).error).toBeUndefined();
  service.refusals = 2;
  expect((await here.request({ payload })).error).toMatchObject({ code: 'draining' });
  expect((await here.request({ payload })).error).toBeUndefined();
});

test('the only cloud leaves: what is in flight is answered, the next hears that nobody is there', async () => {
  const service = new Echo();
  const server = await serveGrpc(service, { listen: '127.0.0.1:0' });
  const here = link(connectGrpc(server.address));
  const flying = here.request({ payload });
  await here.open();
  while (service.peers.size === 0) await new Promise((resolve) => setImmediate(resolve));
  const drained = server.drain(600_000);
  expect((await flying).error).toBeUndefined();
  await drained;
  await expect(here.request({ payload })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(/no Raccoon cloud answers at/),
  });
});

test('after the link broke, the next request opens it again', async () => {
  const service = new Echo();
  const server = await serveGrpc(service, { listen: '127.0.0.1:0' });
  const here = link(connectGrpc(server.address));
  await here.request({ payload });
  server.close();
  await expect(here.request({ payload })).rejects.toMatchObject({ code: 'unavailable' });
  const again = await serveGrpc(service, { listen: server.address });
  cleanups.push(() => again.close());
  for (;;) {
    const answer = await here.request({ payload }).catch((error: unknown) => error);
    if (!(answer instanceof TransportError)) break;
    expect(answer.code).toBe('unavailable'); // until gRPC tries again an address that refused it
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});
