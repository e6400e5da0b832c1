import { readFileSync, writeFileSync } from 'node:fs';

/** Starts the process's peak of resident memory anew, where the system allows it (Linux); elsewhere it is that since the start. */
export function resetPeakMemory(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // not Linux, or not ours to write: the peak is then an upper bound
  }
}

/** The most resident memory of the process since then, bytes. */
export function peakMemory(): number {
  try {
    const [, kilobytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  } catch {
    // as below
  }
  return process.resourceUsage().maxRSS * 1024;
}
