import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Power } from '@raccoon/edge';

/** Where Linux shows the energy counters of Intel's and AMD's processors (RAPL). */
const POWERCAP = '/sys/class/powercap';

export interface PowerMeter {
  readonly source: Power['source'];
  /** Begins to count. */
  start(): void;
  /** Energy since `start`, joules. */
  joules(): number;
}

/**
 * RAPL where this process may read it: the energy of whole processor packages, with everything that runs on them. Else, if
 * `cpuWatts` is known (of one busy processor), processor seconds of this process times that. Else nothing.
 */
export function openPowerMeter(cpuWatts?: number, folder: string = POWERCAP): PowerMeter | undefined {
  const packages = readable(folder);
  if (packages.length > 0) {
    let before: number[] = [];
    return {
      source: 'measured',
      start: () => {
        before = packages.map(({ energy }) => energy());
      },
      joules: () =>
        packages.reduce((sum, { energy, range }, i) => {
          const used = energy() - before[i]!;
          return sum + (used < 0 ? used + range : used) / 1e6; // the counter starts again at its range
        }, 0),
    };
  }
  if (cpuWatts === undefined) return undefined;
  let before = process.cpuUsage();
  return {
    source: 'modelled',
    start: () => {
      before = process.cpuUsage();
    },
    joules: () => {
      const { user, system } = process.cpuUsage(before); // microseconds
      return ((user + system) / 1e6) * cpuWatts;
    },
  };
}

interface Package {
  /** microjoules */
  energy: () => number;
  range: number;
}

/** The packages' counters, without those of their parts. */
function readable(folder: string): Package[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^[a-z-]+:\d+$/.test(name) && read(folder, name, 'name').startsWith('package'))
      .map((name) => {
        const energy = (): number => Number(read(folder, name, 'energy_uj'));
        energy(); // or it may not be read: root's alone since 2020 (CVE-2020-8694)
        return { energy, range: Number(read(folder, name, 'max_energy_range_uj')) };
      });
  } catch {
    return [];
  }
}

function read(...path: string[]): string {
  return readFileSync(join(...path), 'utf8').trim();
}
