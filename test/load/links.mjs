import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCalibration } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { openEdge, readPixels } from '@raccoon/edge/node';
import { encodeJpeg, loadUnsplit } from '@raccoon/rac';
import { random } from '../helpers/random.mjs';
import { root } from '../helpers/report.mjs';
import { shippedBundle } from '../helpers/service.mjs';
import { mean, quantile } from '../helpers/statistics.mjs';
import { recording } from './links-recording.mjs';
import { realTrace } from './links-real.mjs';
import { rowsOf } from './links-rows.mjs';
import { Link, simulate } from './links-simulator.mjs';

export const about = `What each way to classify a camera's photos gets right over links that are slow, far, change or break.
Five minutes of val photos at 5 a second with a deadline of 500 ms, in virtual time: the client's own estimate and policies over a
simulated link, on what every photo became at every operating point, recorded once (about half an hour of a processor).
Photos: imagenet20 val, at --data or where RACCOON_DATA says (docs/results/imagenet1k-mobilenet.md).`;

export const options = {
  data: { default: '', about: 'ImageFolder of the photos' },
  images: { default: 1500, about: 'of the recording' },
  seeds: { default: 3, about: 'orders of the photos, jitters and losses' },
  only: { default: '', about: 'scenarios whose name contains this' },
  rows: { default: '', about: 'rows whose name contains this, and auto' },
  'deadline-ms': { default: 500, about: 'from the photo to its answer' },
  'every-ms': { default: 200, about: 'from photo to photo' },
  slower: { default: 1, about: 'times that the edge takes longer than this machine' },
  'cloud-ms': {
    default: 10,
    about: 'of an answer in the cloud: waiting, decoding, inference; a quarter less to a quarter more',
  },
  calibration: {
    default: '',
    about: 'of the local exit (raccoon calibrate --out), instead of the one in the bundle',
  },
  real: {
    default: 0,
    about:
      'seconds of some rows in real time as well: client, `raccoon cloud` and a slow relay; the simulator gets their times',
  },
  explain: { default: false, about: 'what auto did with each photo, in results/links' },
};

const SECONDS = 300;

const kbit = (rate) => (1000 * rate) / 8;
const steady = (rate, rttMs, more) => [
  { at: 0, bytesPerSecond: kbit(rate), rttMs, jitterMs: 2 + rttMs / 20, ...more },
];
const every = (seconds, ...phases) =>
  Array.from({ length: Math.ceil(SECONDS / seconds) }, (_, i) => ({
    ...phases[i % phases.length],
    at: 1000 * seconds * i,
  }));
const at = (rate, rttMs) => steady(rate, rttMs)[0];
/** From the 40th second of each minute on; [seconds] in turn. */
const blackouts = (phase, ...lengths) => [
  phase,
  ...[40, 100, 160, 220, 280].flatMap((second, i) => [
    { at: 1000 * second, blackout: true },
    { at: 1000 * (second + lengths[i % lengths.length]), blackout: false },
  ]),
];

const SCENARIOS = {
  '64 kbit/s, 20 ms': steady(64, 20),
  '64 kbit/s, 100 ms': steady(64, 100),
  '64 kbit/s, 300 ms': steady(64, 300),
  '512 kbit/s, 20 ms': steady(512, 20),
  '512 kbit/s, 100 ms': steady(512, 100),
  '512 kbit/s, 300 ms': steady(512, 300),
  '512 kbit/s, 100 ms, 1 % loss': steady(512, 100, { loss: 0.01 }),
  '5 Mbit/s, 20 ms': steady(5000, 20),
  '5 Mbit/s, 300 ms': steady(5000, 300),
  'steps: 5 Mbit/s, 64 kbit/s, 512 kbit/s of 20 s': every(20, at(5000, 40), at(64, 40), at(512, 40)),
  'steps: 512, 64 kbit/s of 30 s': every(30, at(512, 100), at(64, 100)),
  'steps: 20, 300 ms of 20 s at 256 kbit/s': every(20, at(256, 20), at(256, 300)),
  'blackouts of 10 s at 512 kbit/s, 100 ms': blackouts(at(512, 100), 10),
  'blackouts of 10 s at 64 kbit/s, 100 ms': blackouts(at(64, 100), 10),
  'blackouts of 2, 5, 9 s at 512 kbit/s, 100 ms': blackouts(at(512, 100), 2, 5, 9),
};

export async function run(given, report) {
  const { images: count, seeds, slower, only } = given;
  const bundle = await openBundle(shippedBundle);
  const { manifest } = bundle;
  const calibrations = given.calibration
    ? parseCalibration(readFileSync(given.calibration, 'utf8'), given.calibration, manifest)
    : (manifest.exit?.calibration ?? []);
  const data = given.data || join(process.env.RACCOON_DATA ?? join(root, '../shared'), 'imagenet20/val');
  const tables = await recording(bundle, data, count, progress('recorded'));
  const times = await measureTimes(bundle, tables, data, slower);
  report.table(
    'ms of processor time for one photo on the edge, one thread',
    Object.fromEntries(
      Object.entries(times).map(([name, values]) => [
        name,
        { p50: quantile(values, 0.5), p95: quantile(values, 0.95) },
      ]),
    ),
  );
  const limits = { deadlineMs: given['deadline-ms'] };
  const makeRows = (edge, cloud) => rowsOf(manifest, tables, { edge, cloud }, calibrations, limits);
  const cloud = Array.from({ length: 100 }, (_, i) => given['cloud-ms'] * (0.75 + i / 200));
  const rows = makeRows(times, cloud).filter(({ name }) => name === 'auto' || name.includes(given.rows));
  const scenarios = Object.entries(SCENARIOS).filter(([name]) => name.includes(only));
  if (given.real > 0) return compare(report, scenarios, tables, data, times, makeRows, given);
  const results = [];
  const tell = progress('simulated');
  for (const [s, [scenario, phases]] of scenarios.entries()) {
    const link = new Link(phases);
    const measured = rows.map((row, r) => {
      const runs = Array.from({ length: seeds }, (_, k) => {
        const images = imagesOf(k + 1, tables, SECONDS, given['every-ms']);
        const outcomes = trace(row, link, k + 1, images, given);
        tell((s * rows.length + r) * seeds + k + 1, scenarios.length * rows.length * seeds);
        if (given.explain && row.name === 'auto') explain(scenario, k + 1, outcomes, row);
        return measure(row, outcomes, limits);
      });
      return { scenario, row: row.name, fixed: row.fixed, ...summary(runs) };
    });
    results.push(...measured);
    show(report, scenario, measured);
  }
  if (rows.some(({ fixed }) => fixed)) verdict(report, results);
  const file = join(root, 'results/links/results.json');
  mkdirSync(join(root, 'results/links'), { recursive: true });
  writeFileSync(file, JSON.stringify(results, undefined, 1));
  report.note(`\nevery row: ${file}`);
}

/** Prints how far something is, now and then. */
function progress(what) {
  let shown = Date.now();
  return (done, total) => {
    if (Date.now() < shown + 10_000 && done < total) return;
    shown = Date.now();
    console.error(`${what} ${done} of ${total}`);
  };
}

/**
 * { `n=0`: [ms], ..., `JPEG 40`: [ms], ..., whole: [ms] } of some photos, one after the other and each way in turn: processor time, since
 * what others do on this machine is not the edge's.
 */
async function measureTimes(bundle, tables, data, slower) {
  const { input } = bundle.manifest;
  const photos = tables.photos.slice(0, 40).map((photo) => join(data, photo));
  const edge = await openEdge(bundle, { threads: 1 });
  const unsplit = await loadUnsplit(bundle, 1);
  const ways = {
    ...Object.fromEntries(
      tables.exits.map(({ n }) => [
        `n=${n}`,
        async (photo) => {
          const analysed = await edge.analyse(photo, { n, precision: 'float32' }, { exit: true });
          edge.code(analysed, tables.points.findLast((row) => row.n === n).point);
        },
      ]),
    ),
    ...Object.fromEntries(
      tables.jpegs.map(({ quality }) => [
        `JPEG ${quality}`,
        async (photo) => encodeJpeg(await readPixels(photo, input), input.width, input.height, quality),
      ]),
    ),
    whole: (photo) => unsplit.classify(photo),
  };
  const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (const round of [0, 1]) {
    for (const photo of photos) {
      for (const [name, way] of Object.entries(ways)) {
        const before = process.cpuUsage();
        await way(photo);
        const { user, system } = process.cpuUsage(before);
        if (round > 0) times[name].push((slower * (user + system)) / 1000);
      }
    }
  }
  await Promise.all([edge.close(), unsplit.release()]);
  return times;
}

/** Every photo once, in the seed's order, and again if the trace has more. */
function imagesOf(seed, { labels }, seconds, everyMs) {
  const draw = random(1000 * seed);
  const order = labels.map((_, i) => i);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * draw());
    [order[i], order[j]] = [order[j], order[i]];
  }
  return Array.from({ length: (1000 * seconds) / everyMs }, (_, i) => order[i % order.length]);
}

function trace({ policy, view, estimates }, link, seed, images, given) {
  const everyMs = given['every-ms'];
  const deadlineMs = given['deadline-ms'];
  return simulate({ link, images, everyMs, deadlineMs, seed, policy: policy(), estimates, view });
}

/** Rows that are run in real time, too, and how `connect` is asked for them. */
const REAL = {
  auto: { policy: 'auto', precision: 'float32' },
  'n=8 q=4': { policy: 'fixed', blocks: 8, rate: 4, precision: 'float32' },
  'n=8 q=1': { policy: 'fixed', blocks: 8, rate: 1, precision: 'float32' },
};

const figures = ({ inTime: within, accuracy, cloud: byCloud, bytes }) => ({
  'in time %': within,
  'accuracy %': accuracy,
  'by the cloud %': byCloud,
  'bytes an image': bytes,
});

/** Rows in real time, and simulated with the encoding and cloud times that were seen. */
async function compare(report, scenarios, tables, data, times, makeRows, given) {
  const everyMs = given['every-ms'];
  const deadlineMs = given['deadline-ms'];
  for (const [scenario, phases] of scenarios) {
    const table = {};
    for (const [name, settings] of Object.entries(REAL)) {
      const images = imagesOf(1, tables, given.real, everyMs);
      const photos = images.map((i) => join(data, tables.photos[i]));
      const seen = await realTrace({
        photos,
        phases,
        everyMs,
        seed: 1,
        settings: { ...settings, deadlineMs },
      });
      const edge = Object.fromEntries(
        Object.entries(times).map(([key, measured]) => {
          const own = seen.filter(({ source, n }) => source !== 'none' && `n=${n}` === key);
          return [key, own.length > 10 ? own.map(({ edgeMs }) => edgeMs) : measured];
        }),
      );
      const cloud = seen.filter(({ source }) => source === 'cloud').map(({ cloudMs }) => cloudMs);
      const row = makeRows(edge, cloud).find((one) => one.name === name);
      const simulated = measure(row, trace(row, new Link(phases), 1, images, given), { deadlineMs });
      const right = seen.filter(
        ({ top, ...outcome }, i) => inTime(outcome, { deadlineMs }) && top === tables.labels[images[i]],
      );
      const share = (those) => (100 * those.length) / seen.length;
      const real = {
        inTime: share(seen.filter((outcome) => inTime(outcome, { deadlineMs }))),
        accuracy: share(right),
        cloud: share(seen.filter(({ source }) => source === 'cloud')),
        bytes: mean(seen.map(({ bytes }) => bytes)),
      };
      const encodeMs = seen.flatMap(({ edgeMs }) => edgeMs ?? []);
      table[`${name}, real`] = {
        ...figures(real),
        'encoding p50, p95 ms': `${quantile(encodeMs, 0.5).toFixed(0)}, ${quantile(encodeMs, 0.95).toFixed(0)}`,
      };
      table[`${name}, simulated`] = figures(simulated);
      report.note(`${scenario}: ${name} done`);
    }
    report.table(`${scenario}, ${given.real} s, real and simulated`, table);
  }
}

const inTime = ({ source, totalMs }, { deadlineMs }) => source !== 'none' && totalMs <= deadlineMs;
const rightIn = ({ rightAt }, outcome, limits) =>
  inTime(outcome, limits) && rightAt[outcome.source](outcome, outcome.image);

function measure(row, outcomes, limits) {
  const percent = (those) => (100 * those.length) / outcomes.length;
  const sent = outcomes.filter(({ action }) => action.kind === 'send');
  const points = row.points ? sent.map(({ action }) => row.points.get(action.point)) : [];
  return {
    inTime: percent(outcomes.filter((outcome) => inTime(outcome, limits))),
    accuracy: percent(outcomes.filter((outcome) => rightIn(row, outcome, limits))),
    cloud: percent(outcomes.filter(({ source }) => source === 'cloud')),
    bytes: mean(outcomes.map(({ bytes }) => bytes)),
    ...(points.length > 0 && {
      n: mean(points.map(({ n }) => n)),
      q: mean(points.map(({ q }) => q)),
    }),
  };
}

/** Means over the seeds, and the range of the accuracy. */
function summary(runs) {
  const of = (key) => mean(runs.map((one) => one[key]));
  const accuracies = runs.map(({ accuracy }) => accuracy);
  return {
    inTime: of('inTime'),
    accuracy: of('accuracy'),
    least: Math.min(...accuracies),
    most: Math.max(...accuracies),
    cloud: of('cloud'),
    bytes: of('bytes'),
    ...(runs[0].n !== undefined && { n: of('n'), q: of('q') }),
  };
}

const bestFixed = (rows) =>
  rows.filter(({ fixed }) => fixed).reduce((a, b) => (b.accuracy > a.accuracy ? b : a));

const columns = ({ inTime: share, accuracy, least, most, cloud, bytes, n, q }) => ({
  'in time %': share,
  'accuracy %': accuracy,
  'over seeds': `${least.toFixed(1)}-${most.toFixed(1)}`,
  'by the cloud %': cloud,
  'bytes an image': bytes,
  'mean n': n ?? '',
  'mean q': q ?? '',
});

function show(report, scenario, rows) {
  const best = rows.some(({ fixed }) => fixed) && bestFixed(rows);
  const sorted = rows.toSorted((a, b) => b.accuracy - a.accuracy || b.inTime - a.inTime);
  report.table(
    scenario,
    Object.fromEntries(
      sorted.map((row) => [row === best ? `${row.row} (best fixed)` : row.row, columns(row)]),
    ),
  );
}

function verdict(report, results) {
  const scenarios = [...new Set(results.map(({ scenario }) => scenario))];
  const lines = scenarios.map((scenario) => {
    const rows = results.filter((one) => one.scenario === scenario);
    const auto = rows.find(({ row }) => row === 'auto');
    const best = bestFixed(rows);
    return [
      scenario,
      {
        'auto in time %': auto.inTime,
        'auto accuracy %': auto.accuracy,
        'best fixed row': best.row,
        'its accuracy %': best.accuracy,
        'auto is better by': auto.accuracy - best.accuracy,
        'bytes, auto and best': `${auto.bytes.toFixed(0)}, ${best.bytes.toFixed(0)}`,
      },
    ];
  });
  report.table('auto and the best fixed row in hindsight', Object.fromEntries(lines));
  for (const [scenario, row] of lines) {
    report.bar(`${scenario}: auto in time %`, row['auto in time %'], '>=', 99);
    const changes = /^(steps|blackouts)/.test(scenario);
    report.bar(
      `${scenario}: points above the best fixed row`,
      row['auto is better by'],
      '>=',
      changes ? 0 : -0.5,
    );
  }
}

function explain(scenario, seed, outcomes, row) {
  const name = scenario.replaceAll(/[^\w]+/g, '-');
  const lines = outcomes.map((outcome, i) => {
    const { image, encoder, action, source, bytes, totalMs } = outcome;
    const right = source !== 'none' && row.rightAt[source](outcome, image);
    const point = action.kind === 'send' ? `q=${row.points.get(action.point).q}` : action.kind;
    return [
      (i / 5).toFixed(1),
      `n=${encoder.n} ${point}`,
      source,
      bytes,
      totalMs.toFixed(0),
      right ? 'right' : 'wrong',
      action.reason,
    ].join('\t');
  });
  mkdirSync(join(root, 'results/links'), { recursive: true });
  writeFileSync(join(root, `results/links/auto-${name}-${seed}.tsv`), `${lines.join('\n')}\n`);
}
