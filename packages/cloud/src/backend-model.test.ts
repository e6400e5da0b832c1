import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { encodeBitstream } from '@raccoon/codec';
import { TransportError } from '@raccoon/transport';
import type { OipClient, OipInput, OipOutput } from '@raccoon/transport/node';
import { beforeAll, describe, expect, test } from 'vitest';
import { BackendModel } from './backend-model.ts';
import type { BatchItem, ModelFiles } from './worker-frames.ts';

let bundle: Bundle;
let files: ModelFiles;
beforeAll(async () => {
  bundle = await openBundle('imagenet1k-mobilenet');
  const { codecs, latent } = bundle.manifest;
  files = {
    codecs: [{ id: codecs[0]!.id, tables: await bundle.read(codecs[0]!.tables) }],
    decoder: new Uint8Array(0),
    classifier: new Uint8Array(0),
    latent,
  };
});

const CLASSES = 4;
const TIMEOUT_MS = 5000;

/** An image whose first symbol is `value`. */
function item(value: number, point = 0): BatchItem {
  const { height: h, width: w, channels } = bundle.manifest.latent;
  const symbols = new Int16Array(channels * h * w);
  symbols[0] = value;
  const [slice] = encodeBitstream(symbols, { h, w }, point, bundle.codec);
  return { slices: [slice!], topK: 1, wantLogits: true };
}

/** Logits whose first class is the image's first symbol. */
function answerTo(inputs: readonly OipInput[]): OipOutput[] {
  const [images, channels, height, width] = inputs[0]!.shape as [number, number, number, number];
  const { buffer, byteOffset, byteLength } = inputs[0]!.data;
  const symbols = new Int16Array(buffer, byteOffset, byteLength / 2);
  const floats = new Float32Array(images * CLASSES);
  for (let i = 0; i < images; i++) floats[i * CLASSES] = symbols[i * channels * height * width]!;
  return [{ name: 'logits', datatype: 'FP32', shape: [images, CLASSES], floats }];
}

type Answer = (inputs: readonly OipInput[]) => readonly OipOutput[];

/** A backend that gives these answers one after another; the last of them for ever. */
function model(...answers: Answer[]): { model: BackendModel; calls: OipInput[][]; waits: number[] } {
  const calls: OipInput[][] = [];
  const waits: number[] = [];
  const client: OipClient = {
    modelReady: async () => true,
    infer: async (_, inputs) => {
      calls.push([...inputs]);
      return answers[Math.min(calls.length, answers.length) - 1]!(inputs);
    },
    connected: async (timeoutMs) => void waits.push(timeoutMs),
    close: () => undefined,
  };
  const remote = { address: 'triton:8001', model: 'small', timeoutMs: TIMEOUT_MS, classes: CLASSES };
  return { model: new BackendModel({ ...files, remote }, client), calls, waits };
}

const throws =
  (code: TransportError['code'], message = 'why'): Answer =>
  () => {
    throw new TransportError(code, message);
  };

test('symbols and points go there, and logits come back in the order of the images', async () => {
  const { model: backend, calls } = model(answerTo);
  const done = await backend.run([item(3, 1), item(-2, 0)]);
  const [symbols, point] = calls[0]!;
  const { channels, height, width } = files.latent;
  expect(symbols).toMatchObject({ name: 'symbols', datatype: 'INT16', shape: [2, channels, height, width] });
  expect(point).toMatchObject({ name: 'point', datatype: 'INT64', shape: [2] });
  expect([...point!.data]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(done.outcomes.map(({ result }) => result?.logits![0])).toEqual([3, -2]);
  expect(done).toMatchObject({ retries: 0 });
});

test('an image that cannot be decoded is its own affair, and alone none of the backend', async () => {
  const { model: backend, calls } = model(answerTo);
  const damaged = { ...item(1), slices: [item(1).slices[0]!.map((byte, i) => (i === 20 ? byte ^ 1 : byte))] };
  const { outcomes } = await backend.run([damaged, item(5)]);
  expect(outcomes[0]).toMatchObject({ fault: { code: 'corrupt-bitstream', reason: 'checksum' } });
  expect(outcomes[1]?.result?.logits![0]).toBe(5);
  expect(await backend.run([damaged])).toMatchObject({ outcomes: [{ fault: { reason: 'checksum' } }] });
  expect(calls).toHaveLength(1);
});

test('logits that are no numbers are the fault of their image alone', async () => {
  const { model: backend } = model((inputs) => {
    const outputs = answerTo(inputs);
    outputs[0]!.floats!.fill(NaN, 0, CLASSES);
    return outputs;
  });
  const { outcomes } = await backend.run([item(1), item(2)]);
  expect(outcomes[0]).toMatchObject({ fault: { code: 'internal', reason: 'not-finite' } });
  expect(outcomes[1]?.result?.logits![0]).toBe(2);
});

describe('a backend that is not there', () => {
  test.each(['unavailable', 'not-found', 'cancelled'] as const)('(%s) is asked once more', async (code) => {
    const { model: backend, calls, waits } = model(throws(code), answerTo);
    expect(await backend.run([item(6)])).toMatchObject({
      retries: 1,
      outcomes: [{ result: { margin: expect.any(Number) } }],
    });
    expect(calls).toHaveLength(2);
    expect(calls[1]).toEqual(calls[0]);
    expect(waits).toEqual([1000]); // for a connection
  });

  test('and not a third time', async () => {
    const { model: backend, calls } = model(throws('unavailable', 'nobody'));
    await expect(backend.run([item(6)])).rejects.toMatchObject({
      code: 'unavailable',
      reason: 'backend-gone',
      message: 'model small of the backend triton:8001 is not there: nobody',
    });
    expect(calls).toHaveLength(2);
  });
});

const logits = { name: 'logits', datatype: 'FP32', shape: [1, CLASSES], floats: new Float32Array(CLASSES) };

describe('not asked again', () => {
  test.each<[string, Answer, string, string, string]>([
    [
      'too late',
      throws('deadline'),
      'unavailable',
      'backend-timeout',
      `has not answered within ${TIMEOUT_MS} ms`,
    ],
    ['full', throws('overloaded'), 'overloaded', 'backend-overloaded', 'takes no more: why'],
    ['no', throws('bad-request'), 'internal', 'backend-refused', 'refuses: why'],
    ['who are you', throws('unauthenticated'), 'internal', 'backend-refused', 'refuses: why'],
    ['what is that', throws('protocol'), 'internal', 'backend-refused', 'refuses: why'],
    ['nothing', () => [], 'internal', 'backend-answer', 'answers with nothing, without logits'],
    ['something', () => [{ ...logits, name: 'x' }], 'internal', 'backend-answer', 'with x, without logits'],
    [
      'another type',
      () => [{ ...logits, datatype: 'FP16' }],
      'internal',
      'backend-answer',
      'answers with FP16 [1, 4], not FP32 [1, 4]',
    ],
    ['more images', () => [{ ...logits, shape: [2, CLASSES] }], 'internal', 'backend-answer', 'FP32 [2, 4]'],
    ['more classes', () => [{ ...logits, shape: [1, 5] }], 'internal', 'backend-answer', 'FP32 [1, 5]'],
    ['flat', () => [{ ...logits, shape: [CLASSES] }], 'internal', 'backend-answer', 'FP32 [4], not'],
    [
      'too few numbers',
      () => [{ ...logits, floats: new Float32Array(3) }],
      'internal',
      'backend-answer',
      'answers with 3 logits',
    ],
    [
      'no numbers',
      () => [{ name: 'logits', datatype: 'FP32', shape: [1, CLASSES] }],
      'internal',
      'backend-answer',
      'answers with no logits',
    ],
  ])('%s', async (_, answer, code, reason, message) => {
    const { model: backend, calls } = model(answer);
    await expect(backend.run([item(1)])).rejects.toMatchObject({
      code,
      reason,
      message: expect.stringContaining(message),
    });
    expect(calls).toHaveLength(1);
  });
});
