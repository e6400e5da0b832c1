// The same trace as the simulator's, in real time: the client, `raccoon cloud` in a process of its own, and a relay that is slow.
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@raccoon/client';
import { startLink } from '../helpers/link.mjs';
import { Service, shippedBundle } from '../helpers/service.mjs';

const way = ({ bytesPerSecond, rttMs, jitterMs, loss, blackout }) => ({
  ...(bytesPerSecond !== undefined && { bytesPerSecond }),
  ...(rttMs !== undefined && { latencyMs: rttMs / 2 }),
  ...(jitterMs !== undefined && { jitterMs: jitterMs / 2 }),
  ...(loss !== undefined && { loss }),
  ...(blackout !== undefined && { blackout }),
});

/**
 * @param photos paths, one every `everyMs`; @param phases of links-simulator.mjs; @param settings of `connect`
 * @returns [{ source: 'cloud' | 'edge' | 'none', top, n, bytes, totalMs, edgeMs, cloudMs }], one a photo, in their order
 */
export async function realTrace({ photos, phases, everyMs, seed, settings }) {
  const service = await Service.start(['--bundle', shippedBundle, '--workers', '1']);
  const [, port] = service.address.split(':');
  const [first, ...later] = phases;
  const link = await startLink(Number(port), { up: way(first), down: way(first), seed });
  const client = await connect({ cloud: link.address, bundle: shippedBundle, threads: 1, ...settings });
  const { points } = client.bundle.manifest;
  for (const { n } of points)
    await client.edge.analyse(photos[0], { n, precision: 'float32' }, { exit: true }); // loads them
  const start = performance.now();
  const timers = later.map((phase) =>
    setTimeout(() => link.set({ up: way(phase), down: way(phase) }), phase.at),
  );
  const outcomes = [];
  try {
    for (const [i, photo] of photos.entries()) {
      await sleep(Math.max(0, start + i * everyMs - performance.now()));
      const since = performance.now();
      outcomes.push(
        client.classify(photo).then(
          (answer) => ({
            source: answer.source,
            top: answer.top[0].index,
            n: answer.encoder.n,
            bytes: answer.bytes,
            totalMs: performance.now() - since,
            edgeMs: answer.imageMs + answer.encodeMs,
            cloudMs: answer.queueMs + answer.decodeMs + answer.inferMs,
          }),
          () => ({ source: 'none', bytes: 0, totalMs: performance.now() - since }),
        ),
      );
    }
    return await Promise.all(outcomes);
  } finally {
    timers.forEach(clearTimeout);
    await client.close();
    await link.close();
    await service.stop();
  }
}
