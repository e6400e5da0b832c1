import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ResultRow, ResultsFile } from '../results.ts';
import { localEngine } from './local.ts';
import { parseSpec, type Spec } from './spec.ts';
import { SweepStore } from './store.ts';
import { runSweep, type SweepProgress } from './sweep.ts';
import { studyTables } from './tables.ts';
import { trialsOf, type Trial } from './trials.ts';

let folder: string;
let store: SweepStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-sweep-'));
  store = new SweepStore(join(folder, 'store'));
  mkdirSync(join(folder, 'photos/n01'), { recursive: true });
  for (const name of ['weights', 'classes.json']) writeFileSync(join(folder, name), name);
});
afterEach(() => rmSync(folder, { recursive: true }));

function specOf(...groups: string[]): Spec {
  const head = `name: s
data: { name: d, train: photos, evaluate: photos }
backbones: { small: { weights: weights, classes: classes.json } }
base: { backbone: small, epochs: 1 }
groups:
`;
  return parseSpec(head + groups.map((group) => `  - ${group}\n`).join(''), join(folder, 's.yaml'));
}

function resultsOf(trial: Trial, payloadBpp: number, top1: number): ResultsFile {
  const row: ResultRow = {
    method: trial.training.series,
    series: trial.training.series,
    point: 'p',
    settings: {
      seed: trial.settings.seed!,
      rateTarget: trial.settings.rateTarget!,
      trainImages: 10,
      trainMacs: 2e12,
    },
    images: 10,
    top1,
    top5: 100,
    payloadBpp,
    wireBpp: null,
    bytesPerImage: 1,
    encodeMs: null,
    entropyMs: null,
    cloudMs: null,
    edgeMacs: 3e6,
    edgeParameters: null,
    peakMemoryMiB: null,
    energyMillijoule: null,
  };
  return {
    format: 'raccoon-results',
    version: 1,
    createdAt: '2026-11-21T00:00:00.000Z',
    command: 'x',
    environment: { cpu: 'x', cores: 1, threads: 1, node: '20', raccoon: '0' },
    data: { name: 'd', images: 10, seed: null },
    bundle: { name: 'small-224', version: '0.1.0', classes: 2 },
    rows: [row],
  };
}

const RATES = '{ model: light, axes: { blocks: [0], rateTarget: [0.2, 0.5, 1] } }';

test('every trial runs once; one that fails does not stop the others, and is tried again', async () => {
  const trials = trialsOf(specOf(RATES));
  const ran: string[] = [];
  const engine = (fails: string) =>
    localEngine(async ({ training, trials: own }, onState) => {
      onState('train');
      ran.push(training.name);
      if (training.name.includes(fails)) {
        store.setFailure(own[0]!, { step: 'train', message: 'no luck' });
        throw new Error(`${training.name}: no luck`);
      }
      store.setResults(own[0]!, resultsOf(own[0]!, 1, 50));
    }, 2);
  const told: SweepProgress[] = [];
  const first = await runSweep(trials, store, engine('0.5'), (progress) => told.push(progress));
  expect(first).toEqual({ kept: 0, done: 2, failures: ['light-n0 target=0.5 seed=1: no luck'] });
  expect(told.at(-1)).toMatchObject({ total: 3, done: 2, failed: 1, current: [] });
  expect(told.some(({ current }) => current.includes('light-n0 target=0.2 seed=1: train'))).toBe(true);
  expect(store.failure(trials[1]!)).toEqual({ step: 'train', message: 'no luck' });

  const second = await runSweep(trials, store, engine('nothing'), () => undefined);
  expect(second).toEqual({ kept: 2, done: 1, failures: [] });
  expect(ran).toHaveLength(4);
  expect(store.failure(trials[1]!)).toBeUndefined();
});

test('nothing begins before what it begins from, whatever is free', async () => {
  const spec = specOf('{ model: light, blocks: 0, warmStart: true, axes: { rateTarget: [1, 0.5, 0.2] } }');
  const trials = trialsOf(spec);
  const events: string[] = [];
  const engine = localEngine(async ({ training, trials: own }) => {
    events.push(`begin ${training.settings.rateTarget}`);
    await Promise.resolve();
    events.push(`end ${training.settings.rateTarget}`);
    store.setResults(own[0]!, resultsOf(own[0]!, 1, 50));
  }, 3);
  await runSweep(trials, store, engine, () => undefined);
  expect(events).toEqual(['begin 1', 'end 1', 'begin 0.5', 'end 0.5', 'begin 0.2', 'end 0.2']);
});

test('two sweeps do not share a store; one that was killed does not keep it', () => {
  const release = store.lock();
  expect(() => store.lock()).toThrow(`process ${process.pid} on ${hostname()}`);
  release();
  const { pid } = spawnSync(process.execPath, ['-e', '']); // has ended
  writeFileSync(join(store.folder, 'lock'), `${pid} ${hostname()}`);
  store.lock()();
  writeFileSync(join(store.folder, 'lock'), '1 another-host');
  expect(() => store.lock()).toThrow(/on another-host\): wait for it, or remove .*lock/);
});

test('the store keeps whole files only, and says what is damaged', () => {
  const [trial] = trialsOf(specOf(RATES)) as [Trial];
  store.describe(trial);
  expect(store.results(trial)).toBeUndefined();
  store.setResults(trial, resultsOf(trial, 1, 50));
  expect(store.results(trial)?.rows).toHaveLength(1);
  expect(readdirSync(store.trialFolder(trial))).toEqual(['results.json', 'trial.json']);
  expect(JSON.parse(readFileSync(join(store.trialFolder(trial), 'trial.json'), 'utf8'))).toMatchObject({
    id: trial.id,
    training: trial.training.id,
    settings: { model: 'light', blocks: 0 },
  });
  expect(existsSync(join(store.runFolder(trial.training), 'run.json'))).toBe(true);
  writeFileSync(join(store.trialFolder(trial), 'results.json'), '{"format": ');
  expect(() => store.results(trial)).toThrow(/results.json is not JSON: remove it/);
});

test('tables: costs of a curve, Delta-accuracy of each seed against the anchor of the same', () => {
  const spec = specOf(
    '{ model: entropic-student, axes: { rateTarget: [0.2, 1], seed: [1, 2] } }',
    '{ model: light, blocks: 4, axes: { rateTarget: [0.2, 1], seed: [1, 2] } }',
  );
  const trials = trialsOf(spec);
  for (const trial of trials) {
    const { seed, rateTarget, model } = trial.settings;
    const gain = model === 'light' ? seed! : 0; // the second seed gains two points
    store.setResults(trial, resultsOf(trial, rateTarget!, 40 + 10 * rateTarget! + gain));
  }
  const tables = studyTables(spec, trials, store);
  expect(tables).toContain('s: 4 of 4 trials finished, 10 photos of d; measured'.replaceAll('4', '8'));
  expect(tables).toContain('| light-n4 | 2 | 44.0 at 0.200, 52.0 at 1.000 | 3 | 20 (2 networks) | 4 |');
  expect(tables).toContain('| light-n4 | 1 | 0.20 to 1.00 | - | +1.00 | +1.00 | +1.00 |');
  expect(tables).toMatch(/\| \*\*light-n4\*\* \| mean \| {2}\| - \| \+1\.50 \(\+1\.00 to \+2\.00\)/);
});
