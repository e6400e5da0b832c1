import { describe, expect, test } from 'vitest';
import type { ClientMessage, InferResponse, ServerMessage } from './messages.ts';
import {
  bundleInfoWire,
  clientMessageWire,
  fetchFileWire,
  inferResponseWire,
  serverMessageWire,
} from './wire.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

describe('a client message, byte for byte', () => {
  test.each<[string, ClientMessage, string]>([
    [
      'a request of one slice says nothing of slices',
      { kind: 'request', request: { id: 300, payload: Uint8Array.of(0xaa, 0xbb) } },
      '0a 07 08 ac02 12 02 aabb',
    ],
    [
      'a request with everything',
      {
        kind: 'request',
        request: {
          id: 1,
          payload: Uint8Array.of(1),
          timeoutMs: 5,
          topK: 2,
          wantLogits: true,
          sliceIndex: 3,
          moreSlices: true,
          stopMargin: 0.5,
        },
      },
      '0a 14 08 01 12 01 01 18 05 20 02 28 01 30 03 38 01 55 0000003f',
    ],
    ['cancel', { kind: 'cancel', id: 2 }, '12 02 08 02'],
    [
      'hello',
      { kind: 'hello', hello: { protocolMin: 1, protocolMax: 2, codecIds: ['0123456789ab'], client: 'e' } },
      '1a 0f 08 01 10 02 1a 06 0123456789ab 22 01 65',
    ],
    [
      'hello of a client that wants to know the load',
      {
        kind: 'hello',
        hello: { protocolMin: 1, protocolMax: 1, codecIds: [], client: 'e', loadIntervalMs: 1000 },
      },
      '1a 0a 08 01 10 01 22 01 65 28 e807',
    ],
  ])('%s', (_, message, hex) => {
    expect(clientMessageWire.encode(message).toString('hex')).toBe(bytes(hex).toString('hex'));
    expect(clientMessageWire.decode(bytes(hex))).toMatchObject(message);
  });
});

test('what a stream cannot read is one unreadable message', () => {
  for (const hex of ['', '0a 05 08', 'ffffffffff', '7a 00', '0a ff ff ff ff 0f']) {
    expect(clientMessageWire.decode(bytes(hex))).toEqual({ kind: 'unreadable' });
    expect(serverMessageWire.decode(bytes(hex))).toEqual({ kind: 'unreadable' });
  }
});

test('a field of a later version is passed over', () => {
  const message = clientMessageWire.decode(bytes('12 05 08 02 78 ac 02'));
  expect(message).toEqual({ kind: 'cancel', id: 2 });
});

const answer = { id: 9, queueMs: 0.5, decodeMs: 0, inferMs: 2, bundleVersion: '' };
const top = [{ index: 3, probability: 0.5, logit: -1 }];

test('more, byte for byte', () => {
  const message: ServerMessage = { kind: 'more', more: { id: 300, margin: 0.25 } };
  expect(serverMessageWire.encode(message).toString('hex')).toBe(
    bytes('22 08 08 ac02 15 0000803e').toString('hex'),
  );
  expect(serverMessageWire.decode(bytes('22 08 08 ac02 15 0000803e'))).toEqual(message);
});

test('load, byte for byte', () => {
  const load = { queueMs: 0.5, imagesPerSecond: 2, utilisation: 0.25, draining: true };
  const hex = '2a 11 0d 0000003f 15 00000040 1d 0000803e 20 01';
  expect(serverMessageWire.encode({ kind: 'load', load }).toString('hex')).toBe(bytes(hex).toString('hex'));
  expect(serverMessageWire.decode(bytes(hex))).toEqual({ kind: 'load', load });
});

describe('a server message comes back as it went', () => {
  test.each<[string, ServerMessage]>([
    ['result', { kind: 'response', response: { ...answer, result: { top, margin: 0.25 } } }],
    [
      'logits',
      {
        kind: 'response',
        response: { ...answer, result: { top, margin: 0, logits: Float32Array.of(1, 2) } },
      },
    ],
    [
      'error',
      {
        kind: 'response',
        response: { ...answer, error: { code: 'deadline', message: 'too late', retryAfterMs: 0 } },
      },
    ],
    ['go away', { kind: 'goAway', reason: 'bye' }],
    [
      'welcome',
      {
        kind: 'welcome',
        welcome: {
          protocol: 1,
          codecIds: ['0123456789ab', 'ffffffffffff'],
          bundle: 'b',
          bundleVersion: '1',
          maxInFlight: 64,
          maxPayloadBytes: 65_536,
          maxSlices: 4,
        },
      },
    ],
  ])('%s', (_, message) => {
    expect(serverMessageWire.decode(serverMessageWire.encode(message))).toEqual(message);
  });
});

test('an error code of a later version is an internal error that names it', () => {
  const response = inferResponseWire.decode(bytes('08 01 1a 07 0a 03 6e6577 12 00'));
  expect(response.error).toEqual({ code: 'internal', message: 'new: ', retryAfterMs: 0 });
});

test('an answer without an outcome is an internal error', () => {
  const response: InferResponse = inferResponseWire.decode(bytes('08 01'));
  expect(response).toMatchObject({ id: 1, error: { code: 'internal' } });
});

test('bytes are a plain Uint8Array, and offsets may pass 4 GiB', () => {
  const info = { name: 'n', version: 'v', manifest: Uint8Array.of(1, 2) };
  const back = bundleInfoWire.decode(bundleInfoWire.encode(info));
  expect(back).toEqual(info);
  expect(Buffer.isBuffer(back.manifest)).toBe(false);
  const request = { bundle: 'b', file: 'f', offset: 5_000_000_000 };
  expect(fetchFileWire.decode(fetchFileWire.encode(request))).toEqual(request);
});
