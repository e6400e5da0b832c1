import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeRequest, decodeResult } from './hot-wire.ts';
import type { InferRequest, InferResponse } from './messages.ts';
import { clientMessageWire, packageDefinition, serverMessageWire } from './wire.ts';

// What is written by hand and what protobufjs writes must be the same messages to each other.

interface Type {
  serialize(message: object): Buffer;
  deserialize(bytes: Buffer): object;
}

function protobufjs(name: string): Type {
  const type: unknown = packageDefinition[`raccoon.v1.${name}`];
  if (typeof type !== 'object' || type === null || !('deserialize' in type)) throw new Error(`no ${name}`);
  // a message type of proto-loader
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return type as unknown as Type;
}
const clientMessage = protobufjs('ClientMessage');
const serverMessage = protobufjs('ServerMessage');

const uint32 = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffff_ffff }));
const float = fc.float({ noNaN: true });
const text = fc.string({ unit: 'grapheme', maxLength: 200 });
const requests: fc.Arbitrary<InferRequest> = fc.record({
  id: uint32,
  payload: fc.uint8Array({ maxLength: 300 }),
  timeoutMs: uint32,
  topK: uint32,
  wantLogits: fc.boolean(),
  sliceIndex: uint32,
  moreSlices: fc.boolean(),
  priority: uint32,
  traceparent: text,
  stopMargin: float,
});
const results: fc.Arbitrary<InferResponse> = fc.record({
  id: uint32,
  result: fc.record(
    {
      top: fc.array(fc.record({ index: uint32, probability: float, logit: float }), { maxLength: 40 }),
      margin: float,
      logits: fc.float32Array({ minLength: 1, maxLength: 100, noNaN: true }),
    },
    { requiredKeys: ['top', 'margin'] },
  ),
  queueMs: float,
  decodeMs: float,
  inferMs: float,
  bundleVersion: text,
});

const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, v: unknown) => (ArrayBuffer.isView(v) ? [...bytesOf(v)] : v)));
const bytesOf = (view: ArrayBufferView): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

describe('requests', () => {
  test('what we write, protobufjs reads', () => {
    fc.assert(
      fc.property(requests, (request) => {
        const bytes = clientMessageWire.encode({ kind: 'request', request });
        const { payload, ...rest } = request;
        expect(clientMessage.deserialize(bytes)).toMatchObject({
          request: { ...rest, payload: Buffer.from(payload) },
        });
      }),
      { seed: 1 },
    );
  });

  test('what protobufjs writes, we read', () => {
    fc.assert(
      fc.property(requests, (request) => {
        expect(decodeRequest(clientMessage.serialize({ request }))).toEqual(request);
      }),
      { seed: 2 },
    );
  });
});

describe('results', () => {
  test('what we write, protobufjs reads', () => {
    fc.assert(
      fc.property(results, (response) => {
        const { result } = response;
        const bytes = serverMessageWire.encode({ kind: 'response', response });
        const expected = { ...response, result: { ...result, logits: [...(result?.logits ?? [])] } };
        expect(plain(serverMessage.deserialize(bytes))).toMatchObject({
          response: plain(expected) as object,
        });
      }),
      { seed: 3 },
    );
  });

  test('what protobufjs writes, we read', () => {
    fc.assert(
      fc.property(results, (response) => {
        const { result } = response;
        const logits = result?.logits && [...result.logits];
        const bytes = serverMessage.serialize({ response: { ...response, result: { ...result, logits } } });
        expect(decodeResult(bytes)).toEqual(response);
      }),
      { seed: 4 },
    );
  });
});

describe('damaged bytes: the same message as protobufjs reads, or left to it', () => {
  const damage = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 3 });
  // Each has its own way with text that is no UTF-8.
  const noText = { traceparent: expect.any(String), bundleVersion: expect.any(String) };

  test('requests', () => {
    fc.assert(
      fc.property(requests, damage, fc.nat(3), (request, edits, cut) => {
        const bytes = damaged(clientMessageWire.encode({ kind: 'request', request }), edits, cut);
        const ours = decodeRequest(bytes);
        if (!ours) return;
        const { payload, ...rest } = ours;
        const { traceparent } = noText;
        const expected = { ...rest, payload: Buffer.from(payload), traceparent };
        expect(clientMessage.deserialize(bytes)).toMatchObject({ request: expected });
      }),
      { seed: 5, numRuns: 2000 },
    );
  });

  test('results', () => {
    fc.assert(
      fc.property(results, damage, fc.nat(3), (response, edits, cut) => {
        const bytes = damaged(serverMessageWire.encode({ kind: 'response', response }), edits, cut);
        const ours = decodeResult(bytes);
        if (!ours) return;
        const { bundleVersion } = noText;
        const result = { ...ours.result, logits: [...(ours.result?.logits ?? [])] };
        expect(serverMessage.deserialize(bytes)).toMatchObject({
          response: { ...ours, result, bundleVersion },
        });
      }),
      { seed: 6, numRuns: 2000 },
    );
  });
});

function damaged(bytes: Buffer, edits: [number, number][], cut: number): Buffer {
  const copy = Buffer.from(bytes).subarray(0, Math.max(1, bytes.length - cut));
  for (const [at, value] of edits) copy[at % copy.length] = value;
  return copy;
}
