import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPolicy } from '@raccoon/edge';
import { openBundle } from '@raccoon/bundle/node';
import { random } from '../helpers/random.mjs';
import { root } from '../helpers/report.mjs';
import { mean, quantile } from '../helpers/statistics.mjs';
import { record } from './shift-recording.mjs';

export const about = `I-SplitEE's claim, tested: Gaussian noise is switched on in mid-stream; how soon does a bandit find the new best operating point?
Real photos through the real edge and cloud, recorded once with and without noise (a few minutes of a processor), then
streams in virtual time: ucb and sliding-ucb of @raccoon/edge side by side, and every fixed arm.
Photos: imagenet20 val, at --data or where RACCOON_DATA says (docs/results/imagenet1k-mobilenet.md).`;

export const options = {
  data: { default: '', about: 'ImageFolder of the photos' },
  photos: { default: 200, about: 'of the recording' },
  sigma: { default: 0.15, about: 'of the noise, on pixels in [0, 1]' },
  seeds: { default: 50, about: 'streams' },
  before: { default: 1500, about: 'pulls before the noise' },
  after: { default: 3000, about: 'pulls with it' },
  rate: { default: 1, about: 'level q of every arm; the arms are the depths n' },
  alpha: { default: 0.2, about: 'confidence from which the exit answers' },
  'cost-ms': { default: 300, about: 'that cost as much as the whole confidence' },
  'bytes-per-second': { default: 8000, about: 'of the link' },
  beta: { default: 0.5, about: 'weight of exploration' },
  window: { default: 250, about: 'pulls that count for sliding-ucb' },
  'rtt-ms': { default: 300, about: 'of the link' },
};

const CLOUD_MS = 10;
/** A policy has recovered at the first pull from which so many of so many are of the new best arm. */
const RUN = 50;
const OF_RUN = 40;

export async function run(given, report) {
  const { before, after, seeds, sigma } = given;
  const table = await recording(given, report);
  const { manifest } = await openBundle('imagenet1k-mobilenet');
  const arms = table.points.map((point) => ({ point, ...manifest.points[point] }));
  const world = worldOf(table, arms, given);
  const means = arms.map((arm, k) =>
    [0, 1].map((phase) => mean(world.outcomes[phase].map((one) => one[k].reward))),
  );
  const best = [0, 1].map((phase) => means.reduce((a, row, k) => (row[phase] > means[a][phase] ? k : a), 0));
  report.table(
    `mean reward and accuracy of every arm, without and with noise of sigma ${sigma}`,
    Object.fromEntries(
      arms.map(({ n, q }, k) => [
        `n=${n} q=${q}${best[0] === k ? ', best before' : ''}${best[1] === k ? ', best after' : ''}`,
        Object.fromEntries(
          ['before', 'after'].flatMap((name, phase) => {
            const all = world.outcomes[phase].map((one) => one[k]);
            return [
              [`reward ${name}`, means[k][phase].toFixed(3)],
              [`top-1 % ${name}`, 100 * mean(all.map(({ right }) => Number(right)))],
              [`local % ${name}`, 100 * mean(all.map(({ sent }) => Number(!sent)))],
            ];
          }),
        ),
      ]),
    ),
  );

  const rows = {};
  const recoveries = {};
  for (const name of ['ucb', 'sliding-ucb']) {
    const runs = Array.from({ length: seeds }, (_, k) =>
      stream(name, manifest, arms, world, k + 1, best, means, given),
    );
    recoveries[name] = runs.map(({ recovered }) => recovered);
    rows[name] = {
      'regret a pull before': mean(runs.map((one) => one.before)).toFixed(3),
      'after, first 250': mean(runs.map((one) => one.first)).toFixed(3),
      'after, last 1000': mean(runs.map((one) => one.last)).toFixed(3),
      'recovered after, median': quantile(recoveries[name], 0.5),
      'worst of the seeds': Math.max(...recoveries[name]),
      'top-1 % after': mean(runs.map((one) => one.top1)),
    };
  }
  report.table(`${before} pulls, then ${after} with noise; ${seeds} seeds`, rows);
  report.bar(
    'sliding-ucb: pulls to recover, median',
    quantile(recoveries['sliding-ucb'], 0.5),
    '<=',
    given.window,
  );
}

/** The table of photos, from results/shift if it is there. */
async function recording({ data, photos, sigma, rate }, report) {
  const file = join(root, `results/shift/q${rate}-${photos}-${sigma}.json`);
  if (!existsSync(file)) {
    const folder = data || join(process.env.RACCOON_DATA ?? join(root, '../shared'), 'imagenet20/val');
    const table = await record({ data: folder, count: photos, sigmas: [0, sigma], rate }, (done) => {
      if (done % 20 === 0) console.error(`recorded ${done} of ${photos}`);
    });
    mkdirSync(join(root, 'results/shift'), { recursive: true });
    writeFileSync(file, JSON.stringify(table));
  }
  report.note(`recording: ${file}`);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** What pulling an arm gives, by phase, photo and arm: I-SplitEE's reward on the recording's bytes and this link's ms. */
function worldOf({ photos, encodeMs }, arms, given) {
  const { alpha, 'cost-ms': costMs, 'bytes-per-second': rate, 'rtt-ms': rttMs } = given;
  const outcomes = [0, 1].map((phase) =>
    photos.map(({ answers }) =>
      arms.map(({ n }, k) => {
        const { bytes, exit, exitRight, cloud, cloudRight } = answers[phase][k];
        const sent = exit < alpha;
        const answerMs = rttMs + CLOUD_MS + (1000 * bytes) / rate;
        const reward = sent ? cloud - (encodeMs[n] + answerMs) / costMs : exit - encodeMs[n] / costMs;
        return {
          sent,
          exit,
          cloud,
          bytes,
          answerMs,
          encodeMs: encodeMs[n],
          right: sent ? cloudRight : exitRight,
          reward,
        };
      }),
    ),
  );
  return { outcomes };
}

/** One stream through a policy. */
function stream(name, manifest, arms, { outcomes }, seed, best, means, given) {
  const draw = random(seed);
  const policy = createPolicy(name, {
    manifest,
    rate: given.rate,
    threshold: given.alpha,
    bandit: { beta: given.beta, window: given.window, costMs: given['cost-ms'] },
  });
  const { before, after } = given;
  const regrets = [];
  const rights = [];
  const lately = [];
  let recovered = Infinity;
  for (let t = 0; t < before + after; t++) {
    const phase = t < before ? 0 : 1;
    const photo = outcomes[phase][Math.floor(outcomes[phase].length * draw())];
    const link = {
      up: true,
      rttMs: given['rtt-ms'],
      bytesPerSecond: 1e6,
      bytesInFlight: 0,
      unansweredMs: 0,
      errorMs: 1,
    };
    const situation = { now: t, elapsedMs: 0, link, queue: { cloudMs: CLOUD_MS } };
    const encoder = policy.chooseEncoder(situation);
    const of = (point) => photo[arms.findIndex((arm) => arm.point === point)];
    const own = photo[arms.findIndex(({ n }) => n === encoder.n)];
    const action = policy.chooseAction(situation, {
      encoder,
      encodeMs: own.encodeMs,
      exit: { confidence: own.exit, margin: own.exit },
      bytesAt: (point) => of(point).bytes,
    });
    const { exit, cloud, bytes, answerMs, encodeMs, right } = of(action.point);
    policy.observe({
      now: t,
      action,
      encoder,
      encodeMs,
      bytes: action.kind === 'send' ? bytes : 0,
      inTime: true,
      exitConfidence: exit,
      ...(action.kind === 'send' && { answerMs, cloudConfidence: cloud }),
    });
    const arm = arms.findIndex(({ point }) => point === action.point);
    regrets.push(means[best[phase]][phase] - means[arm][phase]);
    if (phase === 0) continue;
    rights.push(Number(right));
    lately.push(arm === best[1]);
    if (lately.length > RUN) lately.shift();
    const enough = lately.length === RUN && lately.filter(Boolean).length >= OF_RUN;
    if (enough) recovered = Math.min(recovered, t - before + 1 - RUN);
  }
  return {
    recovered,
    before: mean(regrets.slice(0, before)),
    first: mean(regrets.slice(before, before + 250)),
    last: mean(regrets.slice(-1000)),
    top1: 100 * mean(rights),
  };
}
