import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { built, root } from '../helpers/paths.ts';

// The scripts of test/faults in their short form: counts only, no times.

interface Bar {
  what: string;
  value: unknown;
  operator: string;
  limit: unknown;
  met: boolean;
  judged: boolean;
}

const run = promisify(execFile);

/** The bars that a script judges, and has not met. */
async function missed(script: string, ...args: string[]): Promise<Bar[]> {
  built('packages/cli/dist/main.js');
  const program = join(root, script);
  const { stdout } = await run(process.execPath, [program, ...args], { maxBuffer: 2 ** 26 }).catch(
    (error: Error & { stdout?: string; stderr?: string }) => {
      if (!error.stdout?.includes('"bars"')) throw error;
      return { stdout: error.stdout };
    },
  );
  const { bars } = JSON.parse(stdout.trim().split('\n').at(-1)!) as { bars: Bar[] };
  expect(bars.filter(({ judged }) => judged).length).toBeGreaterThan(0);
  return bars.filter(({ met, judged }) => judged && !met);
}

const LIMIT_MS = 180_000; // for one that hangs; they take seconds

test.each(['drain', 'kill', 'balance', 'reconnect', 'hostile', 'swap'])(
  '%s',
  async (name) => {
    expect(await missed('test/faults/faults.mjs', name, '--short')).toEqual([]);
  },
  LIMIT_MS,
);

test(
  'overload',
  async () => {
    const short = ['--bundle', 'tiny', '--seconds', '2', '--normal', '1', '--short'];
    expect(await missed('test/load/load.mjs', 'overload', ...short)).toEqual([]);
  },
  LIMIT_MS,
);
