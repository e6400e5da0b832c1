import { describe, expect, test } from 'vitest';
import { errorResponse } from '../messages.ts';
import type { InferRequest, InferResponse, Welcome } from '../messages.ts';
import { bundleInfoWire, clientMessageWire, serverMessageWire } from '../wire.ts';
import { decodeBundleInfo, decodeServerMessage, encodeHello, encodeRequest } from './wire.ts';

// protobufjs is at the other end: what one writes the other reads.

const hello = { protocolMin: 1, protocolMax: 300, codecIds: ['0123456789ab', 'ffffffffffff'], client: 'é/1' };

test('Hello', () => {
  const read = clientMessageWire.decode(Buffer.from(encodeHello(hello)));
  expect(read).toMatchObject({ kind: 'hello', hello });
});

test.each<InferRequest>([
  { id: 1, payload: new Uint8Array(0) },
  {
    id: 0xffff_ffff,
    payload: Uint8Array.of(1, 2, 3),
    timeoutMs: 250,
    topK: 20,
    wantLogits: true,
    priority: 1,
  },
  { id: 300, payload: new Uint8Array(70_000).fill(7), traceparent: '00-0af7-b7ad-01', stopMargin: 0.5 },
  { id: 5, payload: Uint8Array.of(9), sliceIndex: 2, moreSlices: true },
])('request $id', (request) => {
  const read = clientMessageWire.decode(Buffer.from(encodeRequest(request)));
  expect(read).toMatchObject({ kind: 'request', request });
});

const welcome: Welcome = {
  protocol: 1,
  codecIds: ['0123456789ab'],
  bundle: 'test',
  bundleVersion: '1.2.3',
  maxInFlight: 64,
  maxPayloadBytes: 65_536,
  maxSlices: 0,
};

const result: InferResponse = {
  id: 7,
  result: {
    top: [
      { index: 999, probability: 0.75, logit: -2.5 },
      { index: 0, probability: 0.25, logit: 0 },
    ],
    margin: 0.5,
    logits: Float32Array.of(8, -1, 0),
  },
  queueMs: 1,
  decodeMs: 0.5,
  inferMs: 3,
  bundleVersion: '1.2.3',
};

describe('what a cloud says', () => {
  test('Welcome', () => {
    const bytes = serverMessageWire.encode({ kind: 'welcome', welcome });
    expect(decodeServerMessage(bytes)).toEqual({ kind: 'welcome', welcome });
  });

  test('a result, with logits and without', () => {
    const { logits: _, ...less } = result.result!;
    for (const response of [result, { ...result, result: less }] as InferResponse[]) {
      const bytes = serverMessageWire.encode({ kind: 'response', response });
      expect(decodeServerMessage(bytes)).toEqual({ kind: 'response', response });
    }
  });

  test('an error', () => {
    const response = errorResponse(3, 'overloaded', 'später', 40);
    const bytes = serverMessageWire.encode({ kind: 'response', response });
    expect(decodeServerMessage(bytes)).toEqual({ kind: 'response', response });
  });

  test('an error of a newer cloud, and an answer without any', () => {
    const error = { code: 'tired' as 'internal', message: 'words', retryAfterMs: 0 };
    const bytes = serverMessageWire.encode({
      kind: 'response',
      response: { ...result, error, result: undefined },
    });
    expect(decodeServerMessage(bytes)).toMatchObject({
      response: { error: { code: 'internal', message: 'tired: words' } },
    });
    expect(decodeServerMessage(Uint8Array.of(0x0a, 0))).toMatchObject({
      response: { id: 0, error: { code: 'internal', message: 'the answer is empty' } },
    });
  });

  test('a bundle', () => {
    const info = { name: 'test', version: '1.2.3', manifest: Uint8Array.of(123, 125) };
    expect(decodeBundleInfo(new Uint8Array(bundleInfoWire.encode(info)))).toEqual(info);
  });

  test('what this version does not know is passed over', () => {
    expect(decodeServerMessage(serverMessageWire.encode({ kind: 'goAway', reason: 'x' }))).toEqual({
      kind: 'unreadable',
    });
    expect(decodeServerMessage(new Uint8Array(0))).toEqual({ kind: 'unreadable' });
    // fields 100 of every type, before and in a response: a varint of 10 bytes, 8 bytes, a text, 4 bytes
    const odd = [
      [0xa0, 6, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
      [0xa1, 6, 1, 2, 3, 4, 5, 6, 7, 8],
      [0xa2, 6, 2, 65, 66],
      [0xa5, 6, 1, 2, 3, 4],
    ].flat();
    const bytes = Uint8Array.of(...odd, 0x0a, odd.length + 2, ...odd, 0x08, 9);
    expect(decodeServerMessage(bytes)).toMatchObject({ kind: 'response', response: { id: 9 } });
  });

  test.each([
    ['a length beyond the end', [0x0a, 5, 8, 1]],
    ['a number that does not end', [0x0a, 2, 8, 0x80]],
    ['a number of more than 64 bits', [0xa0, 6, ...Array.from({ length: 10 }, () => 255), 1]],
    ['four bytes of which two are there', [0x0a, 3, 0x25, 1, 2]],
    ['a group', [0x0b]],
  ])('no protobuf: %s', (_, bytes) => {
    expect(() => decodeServerMessage(Uint8Array.from(bytes))).toThrow(RangeError);
  });

  test('every cut of a message is refused or says less, and nothing else is thrown', () => {
    const whole = serverMessageWire.encode({ kind: 'response', response: result });
    for (let length = 0; length < whole.length; length++) {
      try {
        decodeServerMessage(whole.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }
  });
});
