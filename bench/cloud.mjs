// Images per second through the service, without sockets, by batch size; one worker with all processors.
import { fileURLToPath } from 'node:url';
import { openService } from '@raccoon/cloud';
import { openEdge } from '@raccoon/edge/node';
import { medians } from './median.mjs';

const BATCHES = [1, 4, 16];
const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));

const edge = await openEdge(path('bundles/imagenet1k-mobilenet'));
const { bundle } = edge;
const { slices } = await edge.encode(path('samples/goldfish.jpg'));
await edge.close();

const context = { signal: new AbortController().signal, peer: 'bench' };
const rate = {};
const parts = {};
for (const batch of BATCHES) {
  // a batch waits until it is full, so that every one has this size
  const local = await openService({ bundle, workers: 1, maxBatch: batch, maxBatchDelayMs: 10_000 });
  const infer = async (_, id) => {
    const answer = await local.service.infer({ id: id + 1, payload: slices[0] }, context);
    if (answer.error) throw new Error(answer.error.message);
    return answer;
  };
  const runBatch = () => Promise.all(Array.from({ length: batch }, infer));
  const ms = await medians({ runBatch }, 3000);
  rate[batch] = (1000 * batch) / ms.runBatch;
  parts[batch] = (await runBatch())[0];
  await local.close();
}

console.log(
  `cloud: ${bundle.manifest.name} ${bundle.manifest.version}, bitstream to result, in this process`,
);
console.table(
  Object.fromEntries(
    BATCHES.map((batch) => [
      `batch ${batch}`,
      {
        'images/s': rate[batch].toFixed(1),
        'times batch 1': (rate[batch] / rate[1]).toFixed(2),
        'decode ms/image': (parts[batch].decodeMs / batch).toFixed(2),
        'infer ms/image': (parts[batch].inferMs / batch).toFixed(2),
      },
    ]),
  ),
);
