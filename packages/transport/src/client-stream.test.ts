import { expect, test } from 'vitest';
import { ClientStream } from './client-stream.ts';
import type { ClientMessage } from './messages.ts';
import { clientMessageWire, serverMessageWire } from './wire.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
/** What a cloud from before slices says: protocol 1, bundle "b", version "1", 64 in flight, 65,536 bytes. */
const OLD_WELCOME = bytes('12 0e 08 01 1a 01 62 22 01 31 28 40 30 80 80 04');
const RESULT = bytes('0a 0b 08 07 12 07 0a 05 15 0000803f');

/** A stream to a cloud that a test plays. */
async function open(welcome: Buffer) {
  const sent: ClientMessage[] = [];
  const stream = new ClientStream('cloud:1', (made) => ({
    send(message, taken) {
      sent.push(clientMessageWire.decode(clientMessageWire.encode(message)));
      if (message.kind === 'hello') queueMicrotask(() => made.receive(serverMessageWire.decode(welcome)));
      taken();
    },
    end: () => undefined,
    abort: () => undefined,
  }));
  await stream.open({ protocolMin: 1, protocolMax: 1, codecIds: [], client: 'test' });
  const hear = (hex: Buffer): void => stream.receive(serverMessageWire.decode(hex));
  return { stream, sent, hear };
}

test('a cloud from before slices is not sent any', async () => {
  const { stream, sent, hear } = await open(OLD_WELCOME);
  expect(stream.welcome).toMatchObject({ maxInFlight: 64, maxPayloadBytes: 65_536, maxSlices: 0 });
  const answers = stream.responses[Symbol.asyncIterator]();
  await stream.send({ id: 7, payload: Uint8Array.of(1), moreSlices: true, stopMargin: 0.5 });
  expect((await answers.next()).value).toMatchObject({
    id: 7,
    error: { code: 'bad-request', message: expect.stringContaining('cloud:1 takes an image as one slice') },
  });
  expect(sent).toHaveLength(1);
  await stream.send({ id: 7, payload: Uint8Array.of(1) });
  hear(RESULT);
  expect((await answers.next()).value).toMatchObject({ id: 7, result: { top: [{ probability: 1 }] } });
});

test('what a cloud asks of an image that nobody knows is passed over', async () => {
  const { stream, sent, hear } = await open(
    Buffer.concat([bytes('12 10'), OLD_WELCOME.subarray(2), bytes('38 04')]),
  );
  expect(stream.welcome.maxSlices).toBe(4);
  await stream.send({ id: 7, payload: Uint8Array.of(1), moreSlices: true, stopMargin: 0.5 });
  const wanted = stream.wantsMore(7);
  hear(bytes('22 02 08 08')); // more of 8
  hear(bytes('22 07 08 07 15 0000003f')); // and of 7, at a margin of 0.5
  expect(await wanted).toBe(true);
  expect(await stream.wantsMore(8)).toBe(false);
  expect(sent).toHaveLength(2);
});

test('a later slice waits for its first', async () => {
  const { stream, sent, hear } = await open(bytes('12 06 08 01 30 64 38 04')); // and no credit at all
  const first = stream.send({ id: 7, payload: Uint8Array.of(1), moreSlices: true });
  const message = expect.stringContaining('while its first waits');
  await expect(stream.send({ id: 7, payload: Uint8Array.of(2), sliceIndex: 1 })).rejects.toMatchObject({
    code: 'bad-request',
    message,
  });
  expect(sent).toHaveLength(1);
  stream.cancel(7);
  await first;
  hear(RESULT);
});
