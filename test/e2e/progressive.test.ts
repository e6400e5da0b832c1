import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { channelEndsAt, sendSlices, WIRE_OVERHEAD_BYTES } from '@raccoon/client';
import { startCloud, type Cloud } from '@raccoon/cloud';
import type { AnalysedImage, Edge } from '@raccoon/edge';
import { openEdge } from '@raccoon/edge/node';
import { startWireMeter, type WireMeter } from '@raccoon/rac';
import type { InferResponse, InferStream } from '@raccoon/transport';
import { connectGrpc } from '@raccoon/transport/node';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { built, sample, shippedBundle } from '../helpers/paths.ts';

// A photo in slices, from the edge over a socket to a cloud that stops asking when it is sure.

const NEVER_SURE = 2;
const ALWAYS_SURE = 1e-6;

const hello = { protocolMin: 1, protocolMax: 1, client: 'test' };

let bundle: Bundle;
let edge: Edge;
let cloud: Cloud;
let meter: WireMeter;
let stream: InferStream;
let analysed: AnalysedImage;
let point: number;
let lastId = 0;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  built('packages/cloud/dist/worker.js');
  bundle = await openBundle(shippedBundle);
  edge = await openEdge(bundle);
  cleanups.push(() => edge.close());
  cloud = await startCloud({ bundle, workers: 1, listen: '127.0.0.1:0', metricsListen: '0' });
  cleanups.push(() => cloud.close(0));
  meter = await startWireMeter(cloud.port);
  cleanups.push(() => meter.close());
  const transport = connectGrpc(meter.address);
  cleanups.push(() => transport.close());
  stream = await transport.openStream({ ...hello, codecIds: [bundle.codec.id] });
  const { points, defaultPoint } = bundle.manifest;
  point = defaultPoint;
  const { n, precision = 'float32' } = points[point]!;
  analysed = await edge.analyse(sample('hen.jpg'), { n, precision });
  await send(NEVER_SURE); // the connection's own frames are behind us
});
afterAll(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

async function send(stopMargin: number, channelEnds = channelEndsAt(bundle, point, [0.25, 0.5, 0.75])) {
  const { slices } = edge.code(analysed, point, { channelEnds });
  const whole = (): Uint8Array => edge.code(analysed, point).slices[0]!;
  const sent: number[] = [];
  const request = { id: ++lastId, topK: 5, wantLogits: true };
  await sendSlices(stream, request, { slices, stopMargin, whole }, (bytes) => sent.push(bytes));
  const { value } = await stream.responses[Symbol.asyncIterator]().next();
  if (!value?.result) throw new Error(value?.error.message ?? 'the stream has ended');
  return { sent, slices, answer: value as InferResponse, result: value.result };
}

test('all slices are the image, whoever asks for them', async () => {
  const whole = await send(0, [bundle.manifest.latent.channels]);
  expect(whole.sent).toHaveLength(1);
  for (const stopMargin of [NEVER_SURE, 0]) {
    const { sent, slices, answer, result } = await send(stopMargin);
    expect(sent).toEqual(slices.map(({ length }) => length));
    expect(sent).toHaveLength(4);
    expect(answer.id).toBe(lastId);
    expect(result.top[0]!.index).toBe(whole.result.top[0]!.index);
    expect(result.margin).toBeCloseTo(whole.result.margin, 3);
    expect(answer.inferMs).toBeGreaterThan(0);
  }
});

test('a cloud that is sure is not sent the rest, and its books say so', async () => {
  const before = await metric('raccoon_early_answers_total');
  const slicesBefore = await metric('raccoon_slices_total');
  const { sent, slices } = await send(ALWAYS_SURE);
  expect(sent).toEqual([slices[0]!.length]);
  expect((await metric('raccoon_early_answers_total')) - before).toBe(1);
  expect((await metric('raccoon_slices_total')) - slicesBefore).toBe(1);
  expect(await metric('raccoon_incomplete_requests')).toBe(0);
});

test('what the wire adds to a slice is what the evaluation takes it for', async () => {
  meter.reset();
  const images = 20;
  let payload = 0;
  let messages = 0;
  for (let i = 0; i < images; i++) {
    const { sent } = await send(NEVER_SURE);
    for (const bytes of sent) payload += bytes;
    messages += sent.length;
  }
  const overhead = meter.read().sent - payload;
  const expected = messages * WIRE_OVERHEAD_BYTES + images * 7;
  console.log(
    `overhead of a slice: ${(overhead / messages).toFixed(1)} bytes, taken for ${(expected / messages).toFixed(1)}`,
  );
  expect(overhead / expected).toBeGreaterThan(0.8);
  expect(overhead / expected).toBeLessThan(1.2);
});

test('a client that sends first slices and no more takes no room from others, and leaves none behind', async () => {
  const transport = connectGrpc(cloud.address);
  cleanups.push(() => transport.close());
  const greedy = await transport.openStream({ ...hello, codecIds: [bundle.codec.id] });
  const { slices } = edge.code(analysed, point, { channelEnds: [7, bundle.manifest.latent.channels] });
  const { maxInFlight } = greedy.welcome;
  for (let id = 1; id <= maxInFlight; id++) await greedy.send({ id, payload: slices[0]!, moreSlices: true });
  const incomplete = () => metric('raccoon_incomplete_requests');
  await vi.waitUntil(async () => (await incomplete()) === maxInFlight, { timeout: 60_000 });
  expect(await metric('raccoon_incomplete_bytes')).toBe(maxInFlight * slices[0]!.length);
  expect(await metric('raccoon_queue_requests')).toBe(0);
  expect((await send(NEVER_SURE)).sent).toHaveLength(4);
  await transport.close();
  await vi.waitUntil(async () => (await incomplete()) === 0, { timeout: 60_000 });
  expect(await metric('raccoon_incomplete_bytes')).toBe(0);
});

async function metric(name: string): Promise<number> {
  const text = await fetch(`http://${cloud.metricsAddress}/metrics`).then((answer) => answer.text());
  const line = text.split('\n').find((candidate) => candidate.startsWith(name));
  return Number(line?.split(' ')[1] ?? 0);
}
