// What /proc says of processes (Linux).
import { readFileSync, readdirSync } from 'node:fs';
import { slope, mean } from './statistics.mjs';

/** Children of `pid`, and theirs. */
export function descendants(pid) {
  const parents = new Map();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = read(`/proc/${entry}/stat`);
    // the name, in brackets, may have spaces
    if (stat) parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const found = [];
  for (let generation = [pid]; generation.length > 0;) {
    generation = [...parents].filter(([, parent]) => generation.includes(parent)).map(([child]) => child);
    found.push(...generation);
  }
  return found;
}

/** Resident bytes. */
export function residentBytes(pid) {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return 1024 * Number(kilobytes ?? 0);
}

export function openHandles(pid) {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

/** Processor seconds that a process has used, user and system. */
export function processorSeconds(pid) {
  const stat = read(`/proc/${pid}/stat`);
  if (!stat) return 0;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100; // USER_HZ, 100 on every Linux that Node runs on
}

/** Watches memory and handles of a process and its descendants until `stop`. */
export function watch(pid, intervalMs = 500) {
  const start = performance.now();
  const samples = [];
  const take = () => {
    const pids = [pid, ...descendants(pid)];
    samples.push({
      seconds: (performance.now() - start) / 1000,
      bytes: pids.reduce((sum, each) => sum + residentBytes(each), 0),
      handles: pids.reduce((sum, each) => sum + openHandles(each), 0),
    });
  };
  take();
  const timer = setInterval(take, intervalMs);
  return {
    samples,
    stop() {
      clearInterval(timer);
      take();
      return trend(samples);
    },
  };
}

/** The linear fit of what `watch` saw, without the first fifth, which warms up. */
export function trend(samples) {
  const kept = samples.slice(Math.floor(samples.length / 5));
  const seconds = kept.at(-1).seconds - kept[0].seconds;
  const fit = (key) => slope(kept.map((sample) => [sample.seconds, sample[key]]));
  const bytes = mean(kept.map((sample) => sample.bytes));
  return {
    seconds,
    meanMegabytes: bytes / 2 ** 20,
    megabytesPerMinute: (60 * fit('bytes')) / 2 ** 20,
    /** What the fitted line grows over the run, percent of the mean. */
    growthPercent: (100 * fit('bytes') * seconds) / bytes,
    handlesPerMinute: 60 * fit('handles'),
    handles: kept.at(-1).handles,
  };
}

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined; // it ended
  }
}
