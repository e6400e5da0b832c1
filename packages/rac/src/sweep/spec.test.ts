import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseSpec, type Spec } from './spec.ts';
import { trialsOf } from './trials.ts';
import { unitsOf } from './unit.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-spec-'));
  mkdirSync(join(folder, 'photos/train/n01'), { recursive: true });
  for (const name of ['weights', 'classes.json']) writeFileSync(join(folder, name), name);
});
afterAll(() => rmSync(folder, { recursive: true }));

const HEAD = `name: s
data: { name: d, train: photos, photos: 100, evaluate: photos }
backbones:
  small: { weights: weights, classes: classes.json }
base: { backbone: small, images: 50 }
groups:
`;
const parse = (groups: string, head: string = HEAD): Spec => parseSpec(head + groups, join(folder, 's.yaml'));

test('paths begin at the spec, defaults are those of the documentation', () => {
  const spec = parse('  - { model: light, blocks: 4, rateTarget: 0.5 }\n');
  expect(spec).toMatchObject({ name: 's', engine: 'local', parallel: 1, threads: 2, gpus: 0 });
  expect(spec.store).toBe(join(folder, 's-sweep'));
  expect(spec.backbones['small']).toEqual({
    weights: join(folder, 'weights'),
    classes: join(folder, 'classes.json'),
    licence: 'Apache-2.0',
  });
  const [trial] = trialsOf(spec);
  expect(trial).toMatchObject({
    name: 'light-n4 target=0.5 seed=1',
    precision: 'float32',
    settings: { classifier: 'fixed', recipe: 'short', headStart: 0.25, size: 224, batch: 32, labels: false },
  });
});

test.each([
  ['  - model: light\n    blocks: 4\n    rate: 1\n', 9, 'groups.0.rate: there is no such setting'],
  ['  - model: light\n    axes:\n      blocks: [0, x]\n', 9, /groups\.0\.axes\.blocks\.1: .*expected number/],
  ['  - model: light\n    axes: { blocks: 4 }\n', 8, /axes\.blocks: .*expected array/],
  ['  - model: light\n    axes: { blocks: [] }\n', 8, 'a list of values'],
  ['  - model: heavy\n', 7, /groups\.0\.model: .*universal/],
  ['  - blocks: 4\n    lambda: 1\n', 7, 'model is missing'],
  ['  - { model: light, lambda: 1 }\n', 7, 'light takes blocks: N'],
  ['  - { model: light, blocks: 4 }\n', 7, 'light takes either lambda or rateTarget'],
  [
    '  - { model: light, blocks: 4, lambda: 1, rateTarget: 1 }\n',
    7,
    'light takes either lambda or rateTarget',
  ],
  ['  - { model: universal, stops: [0] }\n', 7, 'universal takes stops and rateTargets'],
  ['  - { model: universal, stops: [0], rateTargets: [1], blocks: 2 }\n', 7, 'universal has no blocks'],
  ['  - { model: universal, stops: [0], rateTargets: [1, 0.5] }\n', 7, 'bits per pixel, rising'],
  ['  - { model: light, blocks: 4, lambda: 1, deep: 0.5 }\n', 7, 'light has no deep'],
  [
    '  - { model: universal, stops: [0], rateTargets: [1], condition: last }\n',
    7,
    /groups\.0\.condition: .*"film"/,
  ],
  ['  - { model: A, lambda: 1, backbone: big }\n', 7, 'no backbone big; there are small'],
  ['  - { model: A, lambda: 1, epochs: 2 }\n', 7, 'either epochs or images'],
  [
    '  - { model: A, lambda: 1, recipe: paper, headStart: 0.5 }\n',
    7,
    'A has no headStart with recipe: paper',
  ],
  ['  - { model: A, lambda: 1, headStart: 1 }\n', 7, /groups\.0\.headStart: .*<1/],
  ['  - { model: A, lambda: 1, warmStart: true }\n', 7, 'warmStart needs an axis lambda or rateTarget'],
  ['  - { model: A, lambda: 1, size: 100 }\n', 7, 'groups.0.size'],
  ['  - model: A\n  lambda: [\n', 8, /same column/],
  ['  - model: A\n    model: B\n', 8, /unique/],
])('%j is refused at line %i: %s', (groups, line, message) => {
  const start = `${join(folder, 's.yaml')}:${line}: `;
  expect(() => parse(groups)).toThrow(expect.objectContaining({ message: expect.stringContaining(start) }));
  expect(() => parse(groups)).toThrow(message);
});

test('what is wrong above the groups has its line as well', () => {
  const group = '  - { model: A, lambda: 1 }\n';
  expect(() => parse(group, HEAD.replace('name: s', 'name: S x'))).toThrow('s.yaml:1: name: lower-case');
  expect(() => parse(group, HEAD.replace('weights: weights, ', ''))).toThrow(
    's.yaml:4: backbones.small: either',
  );
  expect(() => parse(group, HEAD.replace('photos: 100, ', ''))).toThrow(
    's.yaml:7: images is a share of data.photos',
  );
  expect(() => parse(group, HEAD.replace('train: photos, ', ''))).toThrow('s.yaml:2: data.train');
});

test('axes are multiplied, the first seed comes first, doubles are one', () => {
  const trials = trialsOf(
    parse(
      '  - { model: light, axes: { blocks: [0, 4], rateTarget: [0.2, 0.5], seed: [1, 2] } }\n' +
        '  - { model: entropic-student, axes: { rateTarget: [0.2], seed: [1, 2] } }\n' +
        '  - { model: light, blocks: 4, rateTarget: 0.5 }\n',
    ),
  );
  expect(trials.map(({ name }) => name)).toEqual(
    [1, 2].flatMap((seed) => [
      `light-n0 target=0.2 seed=${seed}`,
      `light-n0 target=0.5 seed=${seed}`,
      `light-n4 target=0.2 seed=${seed}`,
      `light-n4 target=0.5 seed=${seed}`,
      `entropic-student target=0.2 seed=${seed}`,
    ]),
  );
  expect(new Set(trials.map(({ id }) => id)).size).toBe(10);
});

const idOf = (group: string, head?: string): string => trialsOf(parse(group, head))[0]!.id;

test('an id is of what matters alone', () => {
  const group = '  - { model: light, blocks: 4, rateTarget: 0.5 }\n';
  const id = idOf(group);
  expect(id).toMatch(/^[0-9a-f]{16}$/);
  expect(idOf('  - { rateTarget: 0.5, seed: 1, blocks: 4, model: light, imagesPerSecond: 9 }\n')).toBe(id);
  expect(idOf(group, HEAD.replace('name: s', 'name: other\nthreads: 1\nengine: ray'))).toBe(id);
  expect(idOf(group.replace('4', '2'))).not.toBe(id);
  expect(idOf(group, HEAD.replace('photos: 100', 'photos: 99'))).not.toBe(id);
  expect(idOf(group, HEAD.replace('images: 50', 'images: 51'))).not.toBe(id);
  writeFileSync(join(folder, 'weights'), 'others');
  expect(idOf(group)).not.toBe(id);
  writeFileSync(join(folder, 'weights'), 'weights');
  expect(idOf(group)).toBe(id);
});

test('weights that are not there are named, with where they were looked for', () => {
  const group = '  - { model: light, blocks: 4, rateTarget: 0.5 }\n';
  const head = HEAD.replace('weights: weights', 'weights: runs/weights');
  expect(() => trialsOf(parse(group, head))).toThrow(
    `backbones.small.weights: ${join(folder, 'runs/weights')} cannot be read`,
  );
});

test('precisions share a training, and a name says what is varied', () => {
  const trials = trialsOf(
    parse(
      '  - { model: universal, stops: [0, 2], rateTargets: [0.2, 0.5], axes: { precision: [float32, int8], images: [50, 100] } }\n',
    ),
  );
  expect(trials.map(({ name }) => name)).toEqual([
    'raccoon images=50 seed=1',
    'raccoon images=100 seed=1',
    'raccoon images=50 seed=1 int8',
    'raccoon images=100 seed=1 int8',
  ]);
  expect(unitsOf(trials).map((unit) => unit.trials.map(({ precision }) => precision))).toEqual([
    ['float32', 'int8'],
    ['float32', 'int8'],
  ]);
});

test('what a trial leaves to the defaults is not in its name', () => {
  const base = 'model: universal, stops: [0, 2], rateTargets: [0.2, 0.5]';
  const trials = trialsOf(
    parse(
      `  - { ${base} }\n  - { ${base}, axes: { condition: [none, film] } }\n  - { ${base}, deep: 0.25 }\n`,
    ),
  );
  expect(trials.map(({ name }) => name)).toEqual([
    'raccoon seed=1',
    'raccoon condition=none seed=1',
    'raccoon condition=film seed=1',
    'raccoon deep=0.25 seed=1',
  ]);
});

test('a warm start goes along the rate axis, within everything else', () => {
  const trials = trialsOf(
    parse('  - { model: light, warmStart: true, axes: { rateTarget: [1, 0.5, 0.2], blocks: [0, 4] } }\n'),
  );
  const begins = Object.fromEntries(trials.map(({ name, training }) => [name, training.after?.name]));
  expect(begins).toEqual({
    'light-n0 target=1 seed=1': undefined,
    'light-n4 target=1 seed=1': undefined,
    'light-n0 target=0.5 seed=1': 'light-n0 target=1 seed=1',
    'light-n4 target=0.5 seed=1': 'light-n4 target=1 seed=1',
    'light-n0 target=0.2 seed=1': 'light-n0 target=0.5 seed=1',
    'light-n4 target=0.2 seed=1': 'light-n4 target=0.5 seed=1',
  });
});
