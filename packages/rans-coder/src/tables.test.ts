import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import type * as source from './index.ts';
import { RansTables, decode, encode, fromCounts } from './index.ts';
import type { Distribution } from './index.ts';

/** A Gaussian-like latent at scale `scale`, as wide as its tails above 1/65536 of the peak, and an escape. */
function latent(scale: number): Distribution {
  const width = Math.ceil(scale * Math.sqrt(2 * Math.log(65536)));
  return fromCounts(
    -width,
    Array.from({ length: 2 * width + 1 }, (_, k) => Math.exp(-(((k - width) / scale) ** 2) / 2)),
  );
}

/** The 300 distributions that 8 x 8 points of 64 channels share: scales from a tenth of a step to 64, in equal ratios. */
const design = RansTables.fromFrequencies(
  Array.from({ length: 300 }, (_, i) => latent(0.1 * 640 ** (i / 299))),
);

test("the design's pool takes at most 4 MB, with the index of every channel at every point", () => {
  const indexes = new Uint16Array(8 * 8 * 64);
  expect(design.words.byteLength + indexes.byteLength).toBeLessThanOrEqual(4 * 1000 * 1000);
  expect(design.buffer.byteLength).toBe(design.words.byteLength);
});

test('a pool over the same buffer is the same pool', () => {
  const other = RansTables.over(design.buffer);
  expect(other.buffer).toBe(design.buffer);
  expect(other.count).toBe(300);
  expect(other.distribution(299)).toEqual(design.distribution(299));
});

test('another thread codes the same bytes from the same memory', async () => {
  // both sides run dist/, where workers can load it
  const index = pathToFileURL(resolve(import.meta.dirname, '../dist/index.js')).href;
  const coder = (await import(/* @vite-ignore */ index)) as typeof source;
  const tables = coder.RansTables.fromFrequencies(Array.from({ length: 4 }, (_, i) => latent(0.3 * 4 ** i)));
  expect(tables.buffer).toBeInstanceOf(SharedArrayBuffer);
  const symbols = Int16Array.from({ length: 4 * 784 }, (_, i) => ((i * i) % 7) - 3);
  const runs = { tables: Uint16Array.of(0, 1, 2, 3), length: 784 };
  const bytes = coder.encode(symbols, runs, tables);

  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.index).then(({ RansTables, decode, encode }) => {
      const { buffer, bytes, runs } = workerData;
      const tables = RansTables.over(buffer);
      const out = new Int16Array(runs.tables.length * runs.length);
      decode(bytes, runs, tables, { out });
      const again = ['wasm', 'plain'].map((engine) => encode(out, runs, tables, { engine }));
      parentPort.postMessage({ out, again, shared: tables.buffer === buffer });
      tables.words[0] = 77; // the other side must see it: it is one memory
      parentPort.postMessage('written');
    });`,
    { eval: true, workerData: { index, buffer: tables.buffer, bytes, runs } },
  );
  const received: unknown[] = [];
  await new Promise<void>((done, failed) => {
    worker.on('message', (message) => received.push(message));
    worker.on('error', failed);
    worker.on('exit', () => done());
  });
  expect(received).toEqual([{ out: symbols, again: [bytes, bytes], shared: true }, 'written']);
  expect(tables.words[0]).toBe(77);
});

test('without a SharedArrayBuffer a pool is in memory of its own, and codes the same', () => {
  const shared = globalThis.SharedArrayBuffer;
  const symbols = Int16Array.of(0, 1, -1, 5);
  const bytes = encode(symbols, new Uint16Array(4).fill(150), design);
  try {
    // as in a browser without cross-origin isolation
    Reflect.deleteProperty(globalThis, 'SharedArrayBuffer');
    const tables = RansTables.fromFrequencies([latent(0.1 * 640 ** (150 / 299))]);
    expect(tables.buffer).toBeInstanceOf(ArrayBuffer);
    expect(encode(symbols, new Uint16Array(4), tables)).toEqual(bytes);
    const copy = RansTables.over(structuredClone(tables.buffer));
    expect([...decode(bytes, new Uint16Array(4), copy)]).toEqual([...symbols]);
  } finally {
    globalThis.SharedArrayBuffer = shared;
  }
});

test('a pool of more than 64 MiB is refused before it is laid out', () => {
  const wide = latent(20);
  expect(() => RansTables.fromFrequencies(Array.from({ length: 8000 }, () => wide))).toThrow(
    expect.objectContaining({ code: 'invalid-table', message: expect.stringContaining('use fewer tables') }),
  );
});
