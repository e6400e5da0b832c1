// One row of results in a process of its own: its memory is the edge's, and no row finds what another has loaded.
import { openBundle } from '@raccoon/bundle/node';
import sharp from 'sharp';
import { evaluateWay, type Evaluation } from './evaluate.ts';
import { openWay, type Method } from './methods.ts';
import type { LabelledPhoto } from './photos.ts';
import type { ByteSplit, PointWay } from './point-way.ts';
import { openPowerMeter } from './power.ts';

/** What is to be measured. */
export interface Job {
  bundle: string;
  method: Method;
  photos: readonly LabelledPhoto[];
  threads: number;
  /** `host:port`, for an operating point that is not to have its cloud in the worker. */
  cloud?: string | undefined;
  /** Of one busy processor, where no counter can be read. */
  cpuWatts?: number | undefined;
  /** Nothing else is measured meanwhile: a counter of the whole processor counts this alone. */
  alone: boolean;
}

/** What was measured; `bytes` of an operating point. */
export type MeasuredRow = Evaluation & { bytes?: ByteSplit };

export type FromWorker =
  { kind: 'progress'; done: number } | { kind: 'row'; row: MeasuredRow } | { kind: 'error'; message: string };

/** Resolves when it was sent. */
const tell = (message: FromWorker): Promise<void> =>
  new Promise((resolve) => process.send!(message, () => resolve()));

process.on('disconnect', () => process.exit(1)); // whoever asked is gone
process.on('uncaughtException', ({ message }) => {
  void tell({ kind: 'error', message }).then(() => process.exit(1));
});
process.once('message', (job: Job) => void run(job));

async function run(job: Job): Promise<void> {
  try {
    await tell({ kind: 'row', row: await measure(job) });
  } catch (error) {
    await tell({ kind: 'error', message: error instanceof Error ? error.message : String(error) });
  }
  process.removeAllListeners('disconnect');
  process.disconnect();
}

async function measure({
  bundle: name,
  method,
  photos,
  threads,
  cloud,
  cpuWatts,
  alone,
}: Job): Promise<MeasuredRow> {
  sharp.concurrency(threads);
  const bundle = await openBundle(name);
  const meter = openPowerMeter(cpuWatts);
  const way = await openWay(bundle, method, { threads, cloud });
  try {
    const progress = (done: number): void => void tell({ kind: 'progress', done });
    const useful = meter?.source === 'modelled' || alone ? meter : undefined;
    const evaluation = await evaluateWay(bundle, way, photos, {
      onProgress: progress,
      meter: useful,
      noise: method.noise,
    });
    return { ...evaluation, ...(method.kind === 'point' && { bytes: (way as PointWay).split() }) };
  } finally {
    await way.close();
  }
}
