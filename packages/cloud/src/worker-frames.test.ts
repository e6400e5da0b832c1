import { expect, test } from 'vitest';
import {
  FrameReader,
  decodeFromWorker,
  decodeToWorker,
  encodeFromWorker,
  encodeToWorker,
  type FromWorker,
  type ToWorker,
} from './worker-frames.ts';

const bytes = (...values: number[]): Buffer => Buffer.from(values);

const toWorker: ToWorker[] = [
  {
    kind: 'load',
    model: 7,
    threads: 2,
    files: {
      codecs: [
        { id: '0123456789ab', tables: bytes(1, 2, 3) },
        { id: 'feedfacecafe', tables: bytes() },
      ],
      decoder: bytes(4),
      classifier: bytes(5, 6),
      latent: { channels: 48, height: 28, width: 29 },
    },
  },
  { kind: 'unload', model: 0xffff_ffff },
  {
    kind: 'batch',
    id: 0xffff_fffe,
    model: 1,
    items: [
      { slices: [bytes(1, 2, 3)], topK: 5, wantLogits: false },
      { slices: [bytes(), bytes(255)], topK: 0xffff_ffff, wantLogits: true },
    ],
  },
  { kind: 'batch', id: 0, model: 1, items: [] },
  {
    kind: 'load',
    model: 8,
    threads: 1,
    files: {
      codecs: [{ id: '0123456789ab', tables: bytes(1) }],
      decoder: bytes(),
      classifier: bytes(),
      latent: { channels: 1, height: 2, width: 3 },
      remote: {
        address: 'triton:8001',
        tls: { ca: 'ca.pem' },
        model: 'm-1.2.3',
        timeoutMs: 5000,
        classes: 1000,
      },
    },
  },
];

const fromWorker: FromWorker[] = [
  { kind: 'started' },
  { kind: 'loaded', model: 3 },
  { kind: 'not-loaded', model: 3, message: 'wörse' },
  { kind: 'failed', id: 9, code: 'internal', reason: '', message: '' },
  {
    kind: 'done',
    id: 0xffff_ffff,
    outcomes: [
      { result: { top: [{ index: 999, probability: 1 / 3, logit: -1.5 }], margin: 0.1 } },
      { fault: { code: 'corrupt-bitstream', reason: 'checksum', message: 'dämaged' } },
      {
        result: {
          top: [
            { index: 0, probability: 1e-300, logit: 0 },
            { index: 1, probability: 0, logit: -0 },
          ],
          margin: 0,
          logits: Float32Array.of(1.25, -Infinity, 3e38),
        },
      },
    ],
    decodeMs: 0.123,
    inferMs: 1e6,
    retries: 1,
  },
];

/** What a socket would deliver in pieces of `size` bytes. */
function through(frames: Buffer[], size: number): Buffer[] {
  const all = Buffer.concat(frames);
  const reader = new FrameReader();
  const taken: Buffer[] = [];
  for (let at = 0; at < all.length; at += size) {
    reader.push(Buffer.from(all.subarray(at, at + size)), (frame) => taken.push(Buffer.from(frame)));
  }
  return taken;
}

test.each([1, 3, 4, 5, 17, 1000])('every message, in pieces of %i bytes', (size) => {
  expect(through(toWorker.map(encodeToWorker), size).map(decodeToWorker)).toEqual(toWorker);
  expect(through(fromWorker.map(encodeFromWorker), size).map(decodeFromWorker)).toEqual(fromWorker);
});
