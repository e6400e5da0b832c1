// Runs the cases of one thread: those whose number is `first` modulo `step`.
import { parentPort, workerData } from 'node:worker_threads';
import { runCase } from './cases.mjs';

const { seed, first, step, cases, engines, now } = workerData;
const REPORT = 2000;

Error.stackTraceLimit = 0; // most cases end in an error, and nobody looks where it came from
const place = new Int32Array(now);
let counts = {};
let slowest = { ms: 0, number: 0 };

function report(done) {
  parentPort.postMessage({ counts, slowest, done });
  counts = {};
}

let done = 0;
for (let i = first; i < cases; i += step) {
  const number = (seed + i) >>> 0;
  Atomics.store(place, 1, number);
  Atomics.store(place, 0, i);
  const start = performance.now();
  try {
    const [target, outcome] = runCase(number, engines);
    const key = `${outcome} ${target}`;
    counts[key] = (counts[key] ?? 0) + 1;
  } catch (error) {
    parentPort.postMessage({ failure: number, what: `${error.name}: ${error.message}` });
    break;
  }
  const ms = performance.now() - start;
  if (ms > slowest.ms) slowest = { ms, number };
  if (++done % REPORT === 0) report(REPORT);
}
report(done % REPORT);
Atomics.store(place, 0, -1);
