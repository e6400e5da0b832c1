import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { built, root } from '../helpers/paths.ts';

const run = promisify(execFile);

/** `npm run fuzz` with these options, on what `npm run build` made. */
async function fuzz(...options: string[]): Promise<string> {
  built('packages/rans-coder/dist/index.js');
  const { stdout } = await run(process.execPath, [join(root, 'test/fuzz/fuzz.mjs'), ...options]);
  return stdout;
}

test('20,000 cases: nothing but typed errors, and every code among them', async () => {
  const report = await fuzz('--cases', '20000', '--seed', '1', '--threads', '1');
  expect(report).toContain('nothing but typed errors');
  const counts = report.split('\n').map((line) => line.trim().split(/\s+/));
  for (const [target, codes] of Object.entries({
    rans: [
      'decoded',
      'escape-length',
      'escape-not-shortest',
      'final-state',
      'index-out-of-range',
      'initial-state',
      'lane-count',
      'run-not-flagged',
      'symbol-range',
      'trailing-bytes',
      'truncated',
    ],
    compressai: [
      'decoded',
      'escape-length',
      'escape-not-shortest',
      'final-state',
      'index-out-of-range',
      'initial-state',
      'symbol-range',
      'trailing-bytes',
      'truncated',
    ],
    tables: ['decoded', 'invalid-table', 'tables-checksum', 'tables-format'],
  })) {
    const column = counts[0]!.indexOf(target) + 1;
    const seen = counts.filter((row) => Number(row[column]) > 0).map(([code]) => code);
    expect(seen, target).toEqual(expect.arrayContaining(codes));
  }
}, 600_000);

test('a case can be run again', async () => {
  expect(await fuzz('--case', '2654435761')).toMatch(
    /^case 2654435761: (rans|compressai|tables): [a-z-]+\n$/,
  );
});

test('what it cannot do it says', async () => {
  await expect(fuzz('--engine', 'none')).rejects.toThrow('give wasm, plain or both');
  await expect(fuzz('--cases', 'many')).rejects.toThrow('give a whole number');
});
