import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runTraining } from './training.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-training-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A virtual environment whose interpreter is a shell script, with the test's folder as $F. */
function interpreter(script: string): void {
  mkdirSync(join(folder, '.venv/bin'), { recursive: true });
  const python = join(folder, '.venv/bin/python');
  writeFileSync(python, `#!/bin/sh\nF='${folder}'\n${script}\n`);
  chmodSync(python, 0o755);
}

const train = (...args: string[]): Promise<number> => runTraining('bundle import', 'import', args, folder);

test('arguments, folder and names reach the package', async () => {
  interpreter('printf "%s\\n" "$@" "$PWD" "$PYTHONPATH" "$RACCOON_COMMAND" > $F/seen');
  expect(await train('--out', 'a b', '--help')).toBe(0);
  expect(readFileSync(join(folder, 'seen'), 'utf8').trimEnd().split('\n')).toEqual([
    '-m',
    'raccoon_training',
    'import',
    '--out',
    'a b',
    '--help',
    process.cwd(),
    expect.stringMatching(new RegExp(`^${folder}`)),
    'raccoon bundle import',
  ]);
});

test.each([
  ['exit 3', 3],
  ['kill -TERM $$', 128 + 15],
])('how it ends: %s', async (script, code) => {
  interpreter(script);
  expect(await train()).toBe(code);
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s is passed on', async (signal) => {
  interpreter(`trap 'exit 7' ${signal.slice(3)}; touch $F/ready; while :; do sleep 0.02; done`);
  const before = process.listeners(signal); // of the test runner, which would end
  for (const listener of before) process.off(signal, listener);
  try {
    const code = train();
    await vi.waitUntil(() => existsSync(join(folder, 'ready')), { timeout: 10_000, interval: 20 });
    process.emit(signal, signal);
    expect(await code).toBe(7);
    expect(process.listeners(signal)).toEqual([]);
  } finally {
    for (const listener of before) process.on(signal, listener);
  }
});

test('without an environment, or without the package, the remedy', async () => {
  await expect(train()).rejects.toThrow(
    /^raccoon bundle import needs .*\.venv is not there: npx nx run training:setup$/,
  );
  const nowhere = join(folder, 'nowhere');
  await expect(runTraining('train', 'train', [], nowhere)).rejects.toThrow("a clone of Raccoon's repository");
});
