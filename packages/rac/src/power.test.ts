import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { peakMemory, resetPeakMemory } from './peak-memory.ts';
import { openPowerMeter } from './power.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-powercap-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function counter(name: string, label: string, energy: number): void {
  mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, name, 'name'), `${label}\n`);
  writeFileSync(join(folder, name, 'energy_uj'), `${energy}\n`);
  writeFileSync(join(folder, name, 'max_energy_range_uj'), '10000000\n');
}

test('RAPL: packages are added, their parts are not, and a counter may start again', () => {
  counter('intel-rapl:0', 'package-0', 1_000_000);
  counter('intel-rapl:1', 'package-1', 9_000_000);
  counter('intel-rapl:0:0', 'core', 500_000);
  const meter = openPowerMeter(undefined, folder)!;
  expect(meter.source).toBe('measured');
  meter.start();
  counter('intel-rapl:0', 'package-0', 3_000_000);
  counter('intel-rapl:1', 'package-1', 500_000);
  counter('intel-rapl:0:0', 'core', 900_000);
  expect(meter.joules()).toBeCloseTo(2 + 1.5, 9);
});

test('without it: processor seconds times watts, called modelled; or nothing', () => {
  const meter = openPowerMeter(10, folder)!;
  expect(meter.source).toBe('modelled');
  meter.start();
  const first = meter.joules();
  expect(meter.joules()).toBeGreaterThanOrEqual(first);
  expect(openPowerMeter(undefined, folder)).toBeUndefined();
  expect(openPowerMeter(undefined, join(folder, 'nowhere'))).toBeUndefined();
});

test('the peak of memory is at least what is used now', () => {
  resetPeakMemory();
  const filled = Buffer.alloc(50e6, 1);
  const now = process.memoryUsage.rss();
  expect(peakMemory()).toBeGreaterThan(0.9 * now);
  expect(filled[0]).toBe(1);
});
