import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBundle } from '@raccoon/bundle/node';
import { parseProfile } from '@raccoon/edge';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { expectFailure, expectSuccess, raccoon } from '../helpers/cli.ts';
import { sample, temporaryFolder } from '../helpers/paths.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
  vi.stubEnv('XDG_CACHE_HOME', folder);
});
afterEach(() => vi.unstubAllEnvs());

const quick = ['bench', sample('hen.jpg'), '--quick', '--threads', '1'];

test('raccoon bench: a table, the profile where edges look for it, a page and a plot that need nothing else', async () => {
  const html = join(folder, 'bench.html');
  const svg = join(folder, 'bench.svg');
  const ended = await raccoon([...quick, '--cpu-watts', '9', '--html', html, '--svg', svg]);
  expectSuccess(ended);
  expect(ended.stdout).toMatch(/^encoder +threads +image +encoder +coding +total .* power, modelled$/m);
  expect(ended.stdout).toMatch(/^n=8 int8 +1 /m);
  const { version } = (await openBundle('imagenet1k-mobilenet')).manifest;
  const file = join(folder, 'raccoon', 'profiles', `imagenet1k-mobilenet-${version}.json`);
  expect(ended.stdout).toContain(`profile: ${file}\n`);
  const { rows, repeats } = parseProfile(readFileSync(file, 'utf8'), file);
  expect(rows).toHaveLength(7);
  expect(repeats).toBe(10);
  expect(readFileSync(svg, 'utf8')).toMatch(/^<svg /);
  expect(readFileSync(html, 'utf8')).toContain('</svg>');

  // which raccoon plan reads
  const planned = await raccoon(['plan', '--max-ms', '100000', '--max-bytes', '1200', '--json']);
  expectSuccess(planned);
  const { feasible, best } = JSON.parse(planned.stdout);
  expect(feasible).toBe(true);
  expect(best.bytes).toBeLessThanOrEqual(1200);
  expect(best.ms).toBe(
    rows.find(({ n, precision }) => n === best.n && precision === best.precision)!.totalMs.p50,
  );
});

test('raccoon bench --json: one encoder, which replaces no profile of all', async () => {
  const ended = await raccoon([...quick, '--blocks', '0', '--spin', 'off,on', '--json']);
  expectSuccess(ended);
  const { rows } = parseProfile(ended.stdout, 'stdout');
  expect(rows.map(({ n, spin }) => [n, spin])).toEqual([
    [0, false],
    [0, true],
  ]);
  const planned = await raccoon(['plan', '--max-ms', '10']);
  expectFailure(planned, '--max-ms needs times of this device: run raccoon bench first');
});

describe('raccoon plan', () => {
  test('the most accurate point within the limits, in a table', async () => {
    const ended = await raccoon(['plan', '--max-macs', '50e6', '--max-bytes', '1900']);
    expectSuccess(ended);
    expect(ended.stdout).toMatch(/^n=2 q=2( int8)? +6\d\.\d +- +1,8\d\d B +3\d\d,\d\d\d +46 M$/m);
  });

  test('what keeps the limits from being kept, and the nearest point', async () => {
    const ended = await raccoon(['plan', '--max-bytes', '600']);
    expectFailure(
      ended,
      /no operating point within the limits; the nearest, n=4 q=0, breaks --max-bytes 600 \(needs 6\d\d\)/,
    );
    expect(ended.stdout).toMatch(/^n=4 q=0 /m);
  });

  test('a profile of another bundle, or none at all', async () => {
    const file = join(folder, 'profile.json');
    writeFileSync(file, '{}');
    expectFailure(await raccoon(['plan', '--profile', file]), `${file} is no device profile`);
    expectFailure(await raccoon(['plan', '--profile', 'nobody.json']), 'nobody.json cannot be read');
    expectFailure(await raccoon(['plan', '--max-ms', 'soon']), /--max-ms.*a number of at least 0/);
  });
});
