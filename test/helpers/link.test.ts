import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { sentAgainAt, startLink, type EmulatedLink } from './link.mjs';

type Settings = NonNullable<Parameters<typeof startLink>[1]>;

/** A client at one end of a link; at the other all that arrives is kept, and sent back where `echo` says so. */
async function open(settings: Settings, echo = false) {
  const arrived: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      arrived.push(chunk);
      if (echo) socket.write(chunk);
    });
    socket.on('end', () => socket.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const link = await startLink((server.address() as AddressInfo).port, settings);
  const client = await dial(link);
  onTestFinished(async () => {
    client.destroy();
    await link.close();
    server.close();
  });
  return { link, client, arrived: () => Buffer.concat(arrived) };
}

async function dial({ address }: EmulatedLink): Promise<Socket> {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

function bytes(count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, (_, i) => (i * i) % 251));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test('what arrives is what was sent, in order, both ways, with jitter and loss; the end arrives, too', async () => {
  const way = { latencyMs: 2, jitterMs: 5, loss: 0.02, bytesPerSecond: 2_000_000, bufferBytes: 4096 };
  const { link, client, arrived } = await open({ up: way, down: way }, true);
  const sent = bytes(60_000);
  const back: Buffer[] = [];
  client.on('data', (chunk) => back.push(chunk));
  const ended = new Promise((resolve) => client.once('end', resolve));
  client.end(sent);
  await ended;
  expect(arrived().equals(sent)).toBe(true);
  expect(Buffer.concat(back).equals(sent)).toBe(true);
  expect(link.bytes).toEqual({ up: sent.length, down: sent.length });
});

test('no more passes than the rate allows, over all connections; a new rate holds from then on', async () => {
  const { link, client } = await open({ up: { bytesPerSecond: 20_000, bufferBytes: 1e6 } });
  const second = await dial(link);
  onTestFinished(() => void second.destroy());
  const start = performance.now();
  client.write(bytes(60_000));
  second.write(bytes(60_000));
  await pause(300);
  const allowed = (20 * (performance.now() - start)) | 0;
  expect(link.bytes.up).toBeGreaterThan(0);
  expect(link.bytes.up).toBeLessThanOrEqual(allowed + 1448);
  link.set({ up: { bytesPerSecond: Infinity } });
  await until(() => link.bytes.up === 120_000);
});

test('latency is paid once each way', async () => {
  const { client } = await open({ up: { latencyMs: 40 }, down: { latencyMs: 60 } }, true);
  const start = performance.now();
  client.write(bytes(100));
  await new Promise((resolve) => client.once('data', resolve));
  expect(performance.now() - start).toBeGreaterThanOrEqual(99);
});

test('a full buffer is felt by the sender', async () => {
  const { client } = await open({ up: { bytesPerSecond: 1000, bufferBytes: 8192 } });
  const chunk = bytes(65_536);
  let taken = 0;
  while (client.write(chunk) && taken < 1000) taken++;
  await pause(50);
  expect(client.writableLength).toBeGreaterThan(0); // neither the relay nor the kernel takes more
});

test('in a blackout nothing passes and nothing breaks; TCP comes back after a timeout of its own', async () => {
  const { link, client, arrived } = await open({});
  link.set({ up: { blackout: true } });
  client.write(bytes(100));
  await pause(100);
  expect(arrived()).toHaveLength(0);
  expect(client.destroyed).toBe(false);
  link.set({ up: { blackout: false } });
  await pause(20);
  expect(arrived()).toHaveLength(0);
  const second = await dial(link);
  onTestFinished(() => void second.destroy());
  second.write(bytes(10));
  await until(() => arrived().length > 0);
  expect(arrived()).toHaveLength(10); // a new connection has no timeout to wait for
  await until(() => arrived().length === 110);
});

test('a schedule changes the link', async () => {
  const { link, client } = await open({
    up: { blackout: true },
    schedule: [{ at: 60, up: { blackout: false } }],
  });
  client.write(bytes(10));
  await until(() => link.bytes.up === 10);
});

test('a cut resets every connection', async () => {
  const { link, client } = await open({});
  const error = new Promise<NodeJS.ErrnoException>((resolve) => client.once('error', resolve));
  link.cut();
  expect((await error).code).toBe('ECONNRESET');
  const again = await dial(link);
  again.end(bytes(10));
  await until(() => link.bytes.up === 10);
});

test('timeouts of TCP double', () => {
  expect(sentAgainAt(1000, 1000, 0)).toBe(1200);
  expect(sentAgainAt(1000, 1201, 0)).toBe(1600);
  expect(sentAgainAt(0, 10_000, 0)).toBe(12_600);
  expect(sentAgainAt(0, 10_000, 50)).toBe(300 * 63);
});
