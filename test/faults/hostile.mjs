import { fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeBitstream, encodeBitstream } from '@raccoon/codec';
import { defaultLimits } from '@raccoon/transport';
import { openLanes } from '../helpers/lane.mjs';
import { closedLoop, openLoop } from '../helpers/load.mjs';
import { shipped, tiny } from '../helpers/payloads.mjs';
import { descendants, processorSeconds, residentBytes } from '../helpers/processes.mjs';
import { Service } from '../helpers/service.mjs';
import { median, quantile } from '../helpers/statistics.mjs';

export const about = `Clients that keep no rules, beside some that do: these notice nothing.
Good clients ask at half the capacity, in turns without and with each kind of hostile client (a process of its own). Corrupt
payloads and wrong codec ids are a tenth of the traffic.`;

export const options = {
  seconds: { default: 6, about: 'of each turn' },
  rounds: { default: 3, about: 'turns without and with each kind' },
  bundle: { default: 'shipped', about: 'shipped or tiny' },
  only: { default: '', about: 'one kind of them' },
  short: { default: false, about: 'a moment of each with the tiny bundle; times are not judged' },
};

/** kind -> the codes that each of its answers has; none: what it does has no answer to count. */
const KINDS = {
  'slow readers': [],
  'half-open connections': [],
  'idle streams': [],
  'oversized messages': ['payload-too-large'],
  'garbage frames': [],
  'garbage messages': ['bad-request'],
  'corrupt payloads': ['corrupt-bitstream'],
  'wrong codec ids': ['unknown-codec'],
  'reset storm': [],
};
const P99_RATIO = 1.5;
const GROWTH_PERCENT = 10;

export async function run({ seconds: given, rounds, bundle, only, short }, report) {
  const seconds = short ? 0.5 : given;
  const model = await (short || bundle === 'tiny' ? tiny() : shipped());
  const { folder, payloads } = model;
  const foreign = payloads.map((payload) => recoded(payload, model.bundle.codec));
  const service = await Service.start(['--bundle', folder, '--workers', '1'], { metrics: true });
  const { lanes, close } = await openLanes(service.address, 4);
  const { rate: capacity } = await closedLoop(lanes, payloads, { concurrency: 64, seconds: short ? 0.5 : 5 });
  // with the tiny bundle the clients would need the processors that they measure
  const rate = Math.min(0.5 * capacity, 500);

  const reference = [];
  let changed = 0;
  const onOutcome = ({ result }, at) => {
    if (!result) return;
    const seen = result.top.map(({ index, logit }) => `${index}:${logit.toFixed(2)}`).join(' ');
    reference[at] ??= seen;
    if (seen !== reference[at]) changed++;
  };
  const good = (seed) => openLoop(lanes, payloads, { rate, seconds, seed, onOutcome });
  const memory = () =>
    [service.pid, ...descendants(service.pid)].reduce((sum, pid) => sum + residentBytes(pid), 0) / 2 ** 20;

  const processor = () =>
    [service.pid, ...descendants(service.pid)].reduce((sum, pid) => sum + processorSeconds(pid), 0);

  await good(1);
  const kinds = Object.entries(KINDS).filter(([kind]) => !only || kind === only);
  const seen = Object.fromEntries(
    kinds.map(([kind]) => [kind, { before: [], beside: [], service: [], client: [], answers: {} }]),
  );
  const uncounted = [];
  let failed = 0;
  const sizes = [];
  for (let round = 0; round < (short ? 1 : rounds); round++) {
    for (const [at, [kind, codes]] of kinds.entries()) {
      const seed = 100 * round + at + 2; // the same arrivals without and with
      const start = processor();
      const before = await good(seed);
      const alone = processor() - start;
      sizes.push(memory());
      const counted = await service.metrics();
      const hostile = await behave({
        behaviour: kind,
        address: service.address,
        payloads,
        seconds,
        foreign,
        settle: short ? 0.5 : 4,
        share: rate / 9,
        maxPayloadBytes: defaultLimits.maxPayloadBytes,
      });
      const joined = processor();
      const beside = await good(seed);
      seen[kind].service.push((1000 * (processor() - joined - alone)) / seconds);
      seen[kind].megabytes = memory();
      const { answers, processorSeconds: taken } = await hostile.answers;
      seen[kind].client.push((1000 * taken) / seconds);
      const since = await service.metrics();
      failed += before.failed + beside.failed;
      seen[kind].before.push(quantile(before.latencies, 0.99));
      seen[kind].beside.push(quantile(beside.latencies, 0.99));
      for (const [code, count] of Object.entries(answers)) {
        seen[kind].answers[code] = (seen[kind].answers[code] ?? 0) + count;
      }
      for (const code of codes) {
        const here = answers[code] ?? 0;
        const there = since.requests(code) - counted.requests(code);
        if (here !== there) uncounted.push(`${kind}: ${here} answers ${code}, /metrics counts ${there}`);
      }
      await sleep(500);
    }
  }
  await good(99);
  sizes.push(memory());
  await close();
  const alive = service.child.exitCode === null;
  const exitCode = await service.stop();

  for (const line of uncounted) report.note(line);
  report.table(
    `${rate.toFixed(1)} good requests/s, medians of ${short ? 1 : rounds} turns of ${seconds} s`,
    Object.fromEntries(
      Object.entries(seen).map(([kind, turns]) => [
        kind,
        {
          'p99 without, ms': median(turns.before),
          with: median(turns.beside),
          ratio: ratio(turns),
          'processor ms/s: service': median(turns.service),
          'hostile client': median(turns.client),
          'MB with': turns.megabytes,
          answers: JSON.stringify(turns.answers),
        },
      ]),
    ),
  );
  const resident = sizes.map((size) => size.toFixed(0)).join(' ');
  report.note(`resident without hostile clients, turn by turn, MB: ${resident}`);
  report.bar('good requests that failed', failed, '=', 0);
  report.bar('good results that changed', changed, '=', 0);
  for (const [kind, turns] of Object.entries(seen)) {
    const what = `p99 of good clients beside ${kind}, times that without`;
    report.bar(what, ratio(turns), '<=', P99_RATIO, { timed: true });
  }
  const unanswered = kinds.filter(([kind, codes]) => codes.some((code) => !seen[kind].answers[code]));
  const growth = 100 * (median(sizes.slice(-3)) / median(sizes.slice(0, 3)) - 1);
  report.bar(
    'growth of memory from the first three turns to the last three, percent',
    growth,
    '<=',
    GROWTH_PERCENT,
    {
      timed: true,
    },
  );
  report.bar(
    'kinds without the answer that is theirs',
    unanswered.map(([kind]) => kind).join(', ') || 'none',
    '=',
    'none',
  );
  report.bar('kinds whose answers /metrics counts otherwise', uncounted.length, '=', 0);
  report.bar('the service lives', alive, '=', true);
  report.bar('exit code', exitCode, '=', 0);
}

function ratio({ before, beside }) {
  return median(beside) / median(before);
}

/** The same image as if another codec had written it, one that no cloud has. */
function recoded(payload, codec) {
  const { symbols, h, w, point } = decodeBitstream([payload], new Map([[codec.id, codec]]));
  return encodeBitstream(symbols, { h, w }, point, { ...codec, id: 'feedfacecafe' })[0];
}

/** Resolves when a hostile client is at it, with a promise of what it was answered. */
async function behave(task) {
  const child = fork(join(import.meta.dirname, 'hostile-client.mjs'), { serialization: 'advanced' });
  const said = () =>
    new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', (code) => reject(new Error(`the hostile client ended with ${code}`)));
    });
  await said(); // 'ready'
  child.send(task);
  await said(); // 'at it'
  return { answers: said() };
}
