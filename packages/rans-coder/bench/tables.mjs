// The design's pool, 8 x 8 operating points x 64 channels that share 400 distributions: how long it takes to read in a
// process that has run nothing yet, and how large it is.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RansTables, parseTables, serialiseTables } from '@raccoon/rans-coder';
import { bundleDistributions, scaleDistribution } from './cases.mjs';
import { median, medianMs } from './clock.mjs';

const POOL = 400;
const PROCESSES = 9;

/** Prints bytes, milliseconds and megabytes of the pool. */
export function benchTables() {
  const bytes = serialiseTables(RansTables.fromFrequencies(pool()));
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-bench-'));
  try {
    const path = join(folder, 'pool.bin');
    writeFileSync(path, bytes);
    const cold = Array.from({ length: PROCESSES }, () => {
      const { status, stdout } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), path], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      if (status !== 0) throw new Error(`reading the pool failed with status ${status}`);
      return Number(stdout);
    });
    const { buffer } = parseTables(bytes);
    console.log(
      `\ntables: ${POOL} distributions, ${(bytes.length / 1e3).toFixed(1)} kB serialised, ` +
        `${(buffer.byteLength / 1e6).toFixed(2)} MB in memory\n` +
        `parseTables: ${median(cold).toFixed(1)} ms in a new process (${PROCESSES} processes, ` +
        `${Math.min(...cold).toFixed(1)} to ${Math.max(...cold).toFixed(1)}), ` +
        `${medianMs(() => parseTables(bytes)).toFixed(1)} ms once it is warm`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The distributions of the shipped bundle that are no single symbol, from half to twice as wide. */
function pool() {
  const live = bundleDistributions()
    .flat()
    .filter(({ frequencies }) => frequencies.length > 4);
  return Array.from({ length: POOL }, (_, i) =>
    scaleDistribution(live[i % live.length], 2 ** ((2 * i) / POOL - 1)),
  );
}

// As a program: the milliseconds that the file given takes.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bytes = readFileSync(process.argv[2]);
  const start = performance.now();
  parseTables(bytes);
  console.log(performance.now() - start);
}
