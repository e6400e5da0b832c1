// What the service costs: images per second through it, without sockets, against a bare loop that decodes and infers
// full batches, with the same threads and in turns. And the main thread's own time for each image.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { openBundle } from '@raccoon/bundle/node';
import { openService } from '@raccoon/cloud';
import { openEdge } from '@raccoon/edge/node';
import { WorkerModel } from '../packages/cloud/dist/worker-model.js';
import { tinyPayloads, writeTinyBundle } from '../test/helpers/tiny-bundle.mjs';
import { median } from './median.mjs';

const ROUNDS = 5;
const ROUND_MS = 1500;
const THREADS = 2;

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));

async function shipped() {
  const edge = await openEdge(path('bundles/imagenet1k-mobilenet'));
  const { slices } = await edge.encode(path('samples/goldfish.jpg'));
  await edge.close();
  return { bundle: edge.bundle, payloads: slices };
}

async function tiny() {
  const folder = mkdtempSync(`${tmpdir()}/raccoon-bench-`);
  process.on('exit', () => rmSync(folder, { recursive: true }));
  const bundle = await openBundle(await writeTinyBundle(folder));
  return { bundle, payloads: tinyPayloads(bundle, 16) };
}

/** Calls `run` again and again; images per second, and the processor time of this process for each, µs. */
async function measure(run, images) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  let runs = 0;
  for (; performance.now() - start < ROUND_MS; runs++) await run();
  const { user, system } = process.cpuUsage(cpu);
  return {
    rate: (1000 * runs * images) / (performance.now() - start),
    cpu: (user + system) / (runs * images),
  };
}

async function compare({ bundle, payloads }, maxBatch) {
  const { manifest } = bundle;
  const codecs = [];
  for (const { id, tables } of manifest.codecs) codecs.push({ id, tables: await bundle.read(tables) });
  const decoder = await bundle.read(manifest.decoder.file);
  const classifier = await bundle.read(manifest.classifier.file);
  const bare = await WorkerModel.load({ codecs, decoder, classifier, latent: manifest.latent }, THREADS);
  const items = Array.from({ length: maxBatch }, (_, i) => ({
    slices: [payloads[i % payloads.length]],
    topK: 5,
    wantLogits: false,
  }));

  // one worker has all processors, and so many wait that every batch is full
  const local = await openService({
    bundle,
    workers: 1,
    maxBatch,
    maxQueue: 8 * maxBatch,
    maxQueueMs: Infinity,
  });
  const context = { signal: new AbortController().signal, peer: 'bench', caller: { name: 'bench' } };
  context.signal.addEventListener = () => undefined; // thousands listen to the one signal
  const sent = 4 * maxBatch;
  let id = 0;
  const infer = async () => {
    const answer = await local.service.infer({ id: ++id, payload: payloads[id % payloads.length] }, context);
    if (answer.error) throw new Error(answer.error.message);
  };
  const throughService = async () => {
    // each of them sends another when it is answered
    const chains = Array.from({ length: sent }, async () => {
      for (let i = 0; i < 8; i++) await infer();
    });
    await Promise.all(chains);
  };

  const rounds = { bare: [], service: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    const loop = await measure(() => bare.run(items), maxBatch);
    const service = await measure(throughService, 8 * sent);
    if (round === 0) continue; // everything is compiled by now
    rounds.bare.push(loop);
    rounds.service.push(service);
  }
  await local.close();
  await bare.release();
  const of = (name, key) => median(rounds[name].map((round) => round[key]));
  return {
    'bare images/s': of('bare', 'rate').toFixed(0),
    'service images/s': of('service', 'rate').toFixed(0),
    'of bare %': (100 * median(rounds.service.map(({ rate }, i) => rate / rounds.bare[i].rate))).toFixed(1),
    'main thread µs/image': of('service', 'cpu').toFixed(1),
  };
}

const rows = {};
const shippedBundle = await shipped();
for (const batch of [1, 4, 16])
  rows[`${shippedBundle.bundle.manifest.name}, batch ${batch}`] = await compare(shippedBundle, batch);
const tinyBundle = await tiny();
for (const batch of [16, 64]) rows[`tiny, batch ${batch}`] = await compare(tinyBundle, batch);

console.log(
  `cloud: bitstream to result; a worker of ${THREADS} threads; medians of ${ROUNDS} rounds of ${ROUND_MS} ms`,
);
console.table(rows);
