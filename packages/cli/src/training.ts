import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The training package of the repository that this file is built in. */
const TRAINING = fileURLToPath(new URL('../../training', import.meta.url));

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs `python -m raccoon_training <command> <args>` in the training package's virtual environment, in this folder and
 * with this process's streams. Passes signals on, waits.
 * @param name what people typed after `raccoon`
 * @returns the exit code; 128 + the signal's number after one
 * @throws Error that names the remedy where there is no such environment
 */
export async function runTraining(
  name: string,
  command: string,
  args: readonly string[],
  folder: string = TRAINING,
): Promise<number> {
  const { python, env } = trainingPython(name, folder);
  const child = spawn(python, ['-m', 'raccoon_training', command, ...args], {
    stdio: 'inherit',
    // in a group of its own: a Ctrl-C reaches it once, through us, and its loaders not at all
    detached: true,
    env,
  });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
    });
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}

/**
 * The interpreter of the training package's virtual environment, and what it needs to be told.
 * @param name what people typed after `raccoon`
 * @throws Error that names the remedy where there is no such environment
 */
export function trainingPython(
  name: string,
  folder: string = TRAINING,
): { python: string; env: NodeJS.ProcessEnv; folder: string } {
  if (!existsSync(folder)) {
    throw new Error(
      `raccoon ${name} needs the training package, which npm does not install: run it in a clone of Raccoon's repository`,
    );
  }
  const python = join(folder, '.venv', 'bin', 'python');
  if (!existsSync(python)) {
    throw new Error(
      `raccoon ${name} needs a virtual environment, and ${join(folder, '.venv')} is not there: npx nx run training:setup`,
    );
  }
  const path = [folder, process.env['PYTHONPATH']].filter(Boolean).join(delimiter);
  return {
    python,
    env: { ...process.env, PYTHONPATH: path, RACCOON_COMMAND: `raccoon ${name}` },
    folder,
  };
}
