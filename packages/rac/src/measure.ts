import { fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { startCloud } from '@raccoon/cloud';
import type { Progress } from './evaluate.ts';
import type { Method } from './methods.ts';
import type { LabelledPhoto } from './photos.ts';
import { PATIENT } from './point-way.ts';
import type { FromWorker, Job, MeasuredRow } from './worker.ts';

// by the package's own name, so that it is the compiled file also when the rest runs from source
const workerFile = createRequire(import.meta.url).resolve('@raccoon/rac/worker');

export interface MeasureRowsOptions {
  /** Rows under way at any time, each in a process of its own. */
  jobs: number;
  /** Of each row's networks. */
  threads: number;
  /** Of one busy processor: energy is worked out where no counter can be read, or where several rows share it. */
  cpuWatts?: number | undefined;
  onProgress?: Progress;
}

/**
 * Measures methods on the same photos, several at a time, in processes that last for one row each; operating points against one
 * cloud on this machine.
 * @param bundle its name or path
 * @param onRow each as it is done, in whatever order
 * @throws Error, the first that a row had; the others are ended with it
 */
export async function measureRows(
  bundle: string,
  photos: readonly LabelledPhoto[],
  methods: readonly Method[],
  { jobs, threads, cpuWatts, onProgress }: MeasureRowsOptions,
  onRow: (row: MeasuredRow, index: number) => void,
): Promise<void> {
  const usesCloud = methods.some((method) => method.kind === 'point' && !method.inProcess);
  const cloud = usesCloud ? await startCloud({ ...PATIENT, bundle, listen: '127.0.0.1:0' }) : undefined;
  const done = methods.map(() => 0);
  const stop = new AbortController();
  const left = [...methods.entries()];

  async function runRows(): Promise<void> {
    for (let next = left.shift(); next && !stop.signal.aborted; next = left.shift()) {
      const [index, method] = next;
      const job: Job = {
        bundle,
        method,
        photos,
        threads,
        cloud: cloud?.address,
        cpuWatts,
        alone: jobs === 1,
      };
      const row = await runWorker(job, stop.signal, (count) => {
        done[index] = count;
        onProgress?.(
          done.reduce((sum, one) => sum + one),
          methods.length * photos.length,
        );
      });
      onRow(row, index);
    }
  }

  try {
    await Promise.all(
      Array.from({ length: Math.min(jobs, methods.length) }, async () => {
        try {
          await runRows();
        } catch (error) {
          stop.abort();
          throw error;
        }
      }),
    );
  } finally {
    await cloud?.close();
  }
}

/** @throws Error what went wrong there */
function runWorker(job: Job, signal: AbortSignal, onProgress: (done: number) => void): Promise<MeasuredRow> {
  return new Promise((resolve, reject) => {
    // no options of this process: the compiled worker must not be sent to sources
    const child = fork(workerFile, { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const end = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', end);
    child.on('message', (message: FromWorker) => {
      if (message.kind === 'progress') onProgress(message.done);
      else if (message.kind === 'row') resolve(message.row);
      else reject(new Error(message.message));
    });
    child.on('error', reject);
    // after its last message
    child.on('close', (code, by) => {
      signal.removeEventListener('abort', end);
      const how = by === 'SIGKILL' ? 'SIGKILL from outside; out of memory?' : (by ?? `exit code ${code}`);
      reject(new Error(`the process that measured a row ended: ${how}`));
    });
    child.send(job);
  });
}
