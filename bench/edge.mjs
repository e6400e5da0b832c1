// What the edge adds to its encoder network: decoded RGB in, bytes out, beside the bare ONNX Runtime call and the entropy
// coder's own time for the same symbols, for every depth n and precision. Then photos a second, whether the encoder's idle
// threads sleep or spin.
// node bench/edge.mjs [bundle]
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openEdge } from '@raccoon/edge/node';
import { encode } from '@raccoon/rans-coder';
import * as ort from 'onnxruntime-node';
import { median } from './median.mjs';

const ROUNDS = 16;
/** What is added may take this many times the entropy coder's own time, */
const MOST_TIMES_CODER = 1.3;
/** and at the deepest encoder this much of the bare call. */
const MOST_OF_CALL = 0.15;

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const photos = readdirSync(path('samples'))
  .filter((name) => name.endsWith('.jpg'))
  .map((name) => path(`samples/${name}`));
const bundle = process.argv[2] ?? path('bundles/imagenet1k-mobilenet');

const verdict = (good) => (good ? 'pass' : 'FAIL');
const timed = async (task) => {
  const start = performance.now();
  await task();
  return performance.now() - start;
};

/** The points of one rate level, a row each. */
function rowsOf({ points, defaultPoint }) {
  const { q } = points[defaultPoint];
  return [...points.entries()].filter(([, { q: rate }]) => rate === q);
}

/** ms that were spent in sessions' `run` since the first was watched. */
const inside = { ms: 0 };

/** Counts the calls of every session in `inside`. */
function watch(session) {
  const prototype = Object.getPrototypeOf(session);
  if (Object.hasOwn(prototype, 'watched')) return;
  const { run } = prototype;
  Object.assign(prototype, {
    watched: true,
    async run(...args) {
      const start = performance.now();
      const results = await run.apply(this, args);
      inside.ms += performance.now() - start;
      return results;
    },
  });
}

/** encode - bare call, against the coder. What is compared is measured in turn, on the same photos. */
async function overhead(threads) {
  const edge = await openEdge(bundle, { threads });
  const { manifest, codec } = edge.bundle;
  const { name, version, input, latent, points } = manifest;
  const deepest = Math.max(...points.map(({ n }) => n));
  const prepared = await Promise.all(photos.map((photo) => edge.prepare(photo)));
  const table = {};
  for (const [point, { n, precision = 'float32', encoder }] of rowsOf(manifest)) {
    const session = await ort.InferenceSession.create(await edge.bundle.read(encoder), {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    });
    watch(session);
    const filled = new Float32Array(3 * input.height * input.width).fill(0.5);
    const tensor = new Float32Array(filled);
    const feeds = {
      [session.inputNames[0]]: new ort.Tensor('float32', tensor, [1, 3, input.height, input.width]),
    };
    const runs = {
      tables: codec.tables.tableOf.subarray(point * latent.channels, (point + 1) * latent.channels),
      length: latent.height * latent.width,
    };
    const times = { call: [], coder: [], warmCoder: [], encode: [], added: [], around: [] };
    for (let round = -2; round < ROUNDS; round++) {
      for (const image of prepared) {
        const { symbols } = await edge.encode(image, point);
        const code = () => encode(symbols, runs, codec.tables.tables);
        tensor.set(filled); // as whoever calls has just done, so that it is in the caches
        const call = await timed(() => session.run(feeds, ['latent']));
        const coder = await timed(code); // after the network, which left nothing of it in the caches: as in encode
        const warmCoder = await timed(code);
        const before = inside.ms;
        const whole = await timed(() => edge.encode(image, point));
        if (round < 0) continue; // warms up
        const around = whole - (inside.ms - before);
        const row = { call, coder, warmCoder, encode: whole, added: whole - call, around };
        for (const [key, ms] of Object.entries(row)) times[key].push(ms);
      }
    }
    await session.release();
    const ms = Object.fromEntries(Object.entries(times).map(([key, values]) => [key, median(values)]));
    const timesCoder = (part) => (ms[part] / ms.coder).toFixed(2);
    table[`n=${n} ${precision}`] = {
      'bare call': ms.call.toFixed(3),
      encode: ms.encode.toFixed(3),
      coder: ms.coder.toFixed(3),
      '(warm)': ms.warmCoder.toFixed(3),
      added: ms.added.toFixed(3),
      '/ coder': `${timesCoder('added')} ${verdict(ms.added <= MOST_TIMES_CODER * ms.coder)}`,
      around: ms.around.toFixed(3),
      'around / coder': `${timesCoder('around')} ${verdict(ms.around <= MOST_TIMES_CODER * ms.coder)}`,
      'around / call': `${((100 * ms.around) / ms.call).toFixed(1)} %${n === deepest ? ` ${verdict(ms.around <= MOST_OF_CALL * ms.call)}` : ''}`,
    };
  }
  await edge.close();
  console.log(
    `edge: ${name} ${version}, ${threads} thread(s), ${photos.length} sample photos as RGB, ${ROUNDS} times; medians in ms\n` +
      `added: encode less a bare call just before it; around: less the call inside it. At most ${MOST_TIMES_CODER} times the coder, ${100 * MOST_OF_CALL} % of the call at n=${deepest}`,
  );
  console.table(table);
}

/** Photos a second from JPEG to bytes, the next one prepared meanwhile; and one encoding alone, nothing beside it. */
async function throughput() {
  const table = {};
  const edges = [];
  for (const threads of [1, 2]) {
    for (const spin of [false, true])
      edges.push({ threads, spin, edge: await openEdge(bundle, { threads, spin }) });
  }
  const { name, version } = edges[0].edge.bundle.manifest;
  for (const [point, { n, precision = 'float32' }] of rowsOf(edges[0].edge.bundle.manifest)) {
    const row = {};
    for (const { threads, spin, edge } of edges) {
      await edge.encode(photos[0], point); // loads the encoder
      const stream = async () => {
        let next = edge.prepare(photos[0]);
        for (let i = 1; i <= photos.length; i++) {
          const image = await next;
          next = edge.prepare(photos[i % photos.length]);
          await edge.encode(image, point);
        }
        await next;
      };
      const streams = [];
      for (let round = 0; round < ROUNDS / 4; round++) streams.push(await timed(stream));
      const image = await edge.prepare(photos[0]);
      const alone = [];
      for (let i = 0; i < 60; i++) alone.push(await timed(() => edge.encode(image, point)));
      const what = `${threads} thr., ${spin ? 'spin' : 'sleep'}`;
      row[`${what}: alone, ms`] = median(alone).toFixed(2);
      row[`${what}: photos/s`] = Math.round((1000 * photos.length) / median(streams));
    }
    table[`n=${n} ${precision}`] = row;
  }
  for (const { edge } of edges) await edge.close();
  console.log(`edge: ${name} ${version}, encoding alone, and photos a second from JPEG to bytes`);
  console.table(table);
}

for (const threads of [1, 2]) await overhead(threads);
await throughput();
