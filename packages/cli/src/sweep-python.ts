import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import type { Call, RayEvent, RayTask, TrainingPackage } from '@raccoon/rac';
import { trainingPython } from './training.ts';

const KEPT = 4000; // characters of what a command said last

/** The training package for sweeps: what its commands say goes to a log, and they end with this process, however it ends. */
export function trainingPackage(): TrainingPackage {
  const { python, env } = trainingPython('sweep');
  const start = ([command, options]: Call): ChildProcess =>
    spawn(python, ['-m', 'raccoon_training', command, ...options], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...env, ...(command !== 'costs' && { RACCOON_END_WITH_STDIN: '1' }) },
    });

  return {
    async call(call, log, onState) {
      mkdirSync(dirname(log), { recursive: true });
      const file = createWriteStream(log, { flags: 'a' });
      const child = start(call);
      let last = '';
      const hear = (chunk: Buffer): void => {
        file.write(chunk);
        last = (last + chunk.toString()).slice(-KEPT);
        const state = /(\w[\w ]*):\s+(\d+)%\|[^|]*$/.exec(last.slice(0, last.lastIndexOf('|') + 1));
        if (state) onState(`${state[1]} ${state[2]} %`);
      };
      child.stdout!.on('data', hear);
      child.stderr!.on('data', hear);
      const code = await exitOf(child);
      file.end();
      await once(file, 'close');
      if (code !== 0)
        throw new Error(lastLine(last) ?? `raccoon_training ${call[0]} ended with code ${code}`);
    },

    async costs(calls) {
      const child = start(['costs', []]);
      child.stdin!.end(JSON.stringify(calls));
      const [said, fault, code] = await Promise.all([
        text(child.stdout!),
        text(child.stderr!),
        exitOf(child),
      ]);
      if (code !== 0) throw new Error(lastLine(fault) ?? `raccoon_training costs ended with code ${code}`);
      return JSON.parse(said) as Awaited<ReturnType<TrainingPackage['costs']>>;
    },
  };
}

/**
 * Gives tasks to a Ray cluster.
 * @param address of its head, `host:port`, or `auto`; absent: a cluster of this machine alone, for as long as this takes
 * @throws Error where Ray is not set up, or the cluster is lost
 */
export function rayCluster(
  address: string | undefined,
): (tasks: readonly RayTask[], onEvent: (event: RayEvent) => void) => Promise<void> {
  const { folder, env } = trainingPython('sweep');
  const python = join(folder, '.venv-ray', 'bin', 'python');
  if (!existsSync(python)) {
    throw new Error(
      `--engine ray needs Ray, and ${join(folder, '.venv-ray')} is not there: npx nx run training:setup-ray`,
    );
  }
  return async (tasks, onEvent) => {
    const options = address === undefined ? [] : ['--address', address];
    const child = spawn(python, [join(folder, 'raccoon_training', 'ray_engine.py'), ...options], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env,
    });
    child.stdin.write(`${JSON.stringify(tasks)}\n`); // and stays open: its end says that this process is gone
    let fault = '';
    child.stderr.on('data', (chunk: Buffer) => (fault = (fault + chunk.toString()).slice(-KEPT)));
    const heard = (async () => {
      for await (const line of createInterface({ input: child.stdout }))
        onEvent(JSON.parse(line) as RayEvent);
    })();
    const [code] = await Promise.all([exitOf(child), heard]);
    if (code !== 0) throw new Error(`Ray: ${lastLine(fault) ?? `its driver ended with code ${code}`}`);
  };
}

/** 128 + the signal's number after one. */
async function exitOf(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + constants.signals[signal!];
}

/** Of a command's words the last line, which says what was wrong; without the program's name. */
function lastLine(words: string): string | undefined {
  const line = words.split(/[\r\n]+/).findLast((one) => one.trim() !== '');
  return line?.replace(/^raccoon(_training [\w-]+)?: /, '').trim();
}
