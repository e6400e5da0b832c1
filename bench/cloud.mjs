// Images per second through the service, without sockets, by batch size; one worker with all processors.
import { fileURLToPath } from 'node:url';
import { openService } from '@raccoon/cloud';
import { openEdge } from '@raccoon/edge/node';
import { median, medians } from './median.mjs';

const BATCHES = [1, 4, 16];
const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));

const edge = await openEdge(path('bundles/imagenet1k-mobilenet'));
const { bundle } = edge;
const { slices } = await edge.encode(path('samples/goldfish.jpg'));
await edge.close();

const rows = {};
let single = 0; // images/s at batch 1
for (const batch of BATCHES) {
  // a batch waits until it is full, so that every one has this size
  const local = await openService({ bundle, workers: 1, maxBatch: batch, maxBatchDelayMs: 10_000 });
  const answers = []; // one of each batch
  const infer = async (_, id) => {
    const context = { signal: new AbortController().signal, peer: 'bench' };
    const answer = await local.service.infer({ id: id + 1, payload: slices[0] }, context);
    if (answer.error) throw new Error(answer.error.message);
    return answer;
  };
  const runBatch = async () => {
    const [first] = await Promise.all(Array.from({ length: batch }, infer));
    answers.push(first);
  };
  const ms = await medians({ runBatch }, 3000);
  await local.close();

  const rate = (1000 * batch) / ms.runBatch;
  single ||= rate;
  rows[`batch ${batch}`] = {
    'images/s': rate.toFixed(1),
    'times batch 1': (rate / single).toFixed(2),
    'decode ms/image': (median(answers.map(({ decodeMs }) => decodeMs)) / batch).toFixed(2),
    'infer ms/image': (median(answers.map(({ inferMs }) => inferMs)) / batch).toFixed(2),
  };
}

console.log(
  `cloud: ${bundle.manifest.name} ${bundle.manifest.version}, bitstream to result, in this process; medians`,
);
console.table(rows);
