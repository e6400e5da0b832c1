// npm run fuzz [-- --cases 10000000 --seed 1 --engine both --threads 2]: hostile bytes for everything in rans-coder that
// reads bytes. npm run fuzz -- --case 123: one case again. Exit status 1 if anything but a RansError came out, engines
// disagreed, something was accepted that no encoder makes, or a case took longer than --limit seconds.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { engines as available } from '@raccoon/rans-coder';
import { runCase } from './cases.mjs';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    engine: { type: 'string', default: 'both' },
    threads: { type: 'string', default: String(Math.min(2, availableParallelism())) },
    limit: { type: 'string', default: '60' },
    case: { type: 'string' },
  },
});
const engines = values.engine === 'both' ? available() : [values.engine];
if (!engines.every((engine) => available().includes(engine))) {
  fail(`--engine ${values.engine}: give wasm, plain or both; here run ${available().join(' and ')}`);
}

if (values.case === undefined) fuzz();
else console.log(`case ${values.case}: ${runCase(integer('case'), engines).join(': ')}`);

function fuzz() {
  const cases = integer('cases');
  const threads = integer('threads');
  const limit = 1000 * integer('limit');
  const seed = Math.imul(integer('seed'), 0x9e3779b1) >>> 0; // seeds 1 and 2 have no case in common, up to a billion
  const total = { counts: {}, slowest: { ms: 0, number: 0 }, done: 0 };
  const start = performance.now();
  let running = threads;
  const seconds = () => (performance.now() - start) / 1000;
  const workers = Array.from({ length: threads }, (_, first) => {
    // the place of the present case and its number: what a thread that hangs can still say
    const place = new Int32Array(new SharedArrayBuffer(8));
    const workerData = { seed, first, step: threads, cases, engines, now: place.buffer };
    const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData });
    worker.on('message', (report) => {
      if (report.failure !== undefined) failCase(report.failure, report.what);
      for (const [key, count] of Object.entries(report.counts)) {
        total.counts[key] = (total.counts[key] ?? 0) + count;
      }
      if (report.slowest.ms > total.slowest.ms) total.slowest = report.slowest;
      total.done += report.done;
    });
    worker.on('error', (error) => failCase(Atomics.load(place, 1) >>> 0, String(error)));
    worker.on('exit', () => {
      if (--running === 0) finish();
    });
    return { place, last: -1, since: performance.now() };
  });

  let ticks = 0; // seconds
  const watchdog = setInterval(() => {
    const now = performance.now();
    for (const worker of workers) {
      const at = Atomics.load(worker.place, 0);
      if (at !== worker.last || at === -1) Object.assign(worker, { last: at, since: now });
      else if (now - worker.since > limit) {
        failCase(Atomics.load(worker.place, 1) >>> 0, `still running after ${limit / 1000} s`);
      }
    }
    if (process.stderr.isTTY) process.stderr.write(`\r${progress()} `);
    else if (++ticks % 30 === 0) process.stderr.write(`${progress()}\n`);
  }, 1000);

  function progress() {
    const rate = total.done / seconds();
    return `${total.done} of ${cases} cases, ${Math.round(rate)}/s, ${Math.round((cases - total.done) / rate)} s left`;
  }

  function finish() {
    clearInterval(watchdog);
    if (process.stderr.isTTY) process.stderr.write('\n');
    console.log(table(total.counts));
    const { ms, number } = total.slowest;
    console.log(`slowest case: ${ms.toFixed(1)} ms (--case ${number})`);
    console.log(
      `${cases} cases, seed ${values.seed}, ${engines.join(' and ')}, ${threads} threads: ` +
        `${seconds().toFixed(1)} s, ${Math.round(cases / seconds())} cases/s; nothing but typed errors`,
    );
  }
}

/** Outcomes as rows, targets as columns. */
function table(counts) {
  const targets = ['rans', 'compressai', 'tables'];
  const codes = [...new Set(Object.keys(counts).map((key) => key.split(' ')[0]))].toSorted();
  const rows = [
    ['', ...targets],
    ...codes.map((code) => [code, ...targets.map((t) => counts[`${code} ${t}`] ?? 0)]),
  ];
  return rows
    .map(([name, ...cells]) => name.padEnd(20) + cells.map((cell) => String(cell).padStart(12)).join(''))
    .join('\n');
}

function integer(name) {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 0) fail(`--${name} ${values[name]}: give a whole number`);
  return value;
}

function failCase(number, what) {
  fail(`case ${number}: ${what}\nnpm run fuzz -- --engine ${values.engine} --case ${number}`);
}

function fail(what) {
  process.stderr.write(`\n${what}\n`);
  process.exit(1);
}
