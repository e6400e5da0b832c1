import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectFailure, raccoon, start } from '../helpers/cli.ts';
import { root, temporaryFolder } from '../helpers/paths.ts';
import { random } from '../helpers/random.mjs';

// `raccoon sweep`: real trainings of next to nothing, on made photos, through the real codec.

const training = join(root, 'packages/training');
const python = join(training, '.venv/bin/python');
const ray = join(training, '.venv-ray/bin/python');
const missing = !existsSync(python);
if (missing) console.warn(`skipped: ${python} is not there; npx nx run training:setup makes it`);
const noRay = !existsSync(ray);
if (noRay) console.warn(`skipped: ${ray} is not there; npx nx run training:setup-ray makes it`);

const MINUTES = 60_000;

let folder: string;
let spec: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-sweep-'));
  spec = missing ? '' : await makeSpec();
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A MobileNetV2 that has learned nothing, twelve photos of two classes, and a spec of three trials. */
async function makeSpec(): Promise<string> {
  const script =
    'import sys, torch; from pathlib import Path; from safetensors.torch import save_file; ' +
    'from raccoon_training.mobilenet import MobileNetV2; torch.manual_seed(2); network = MobileNetV2(); ' +
    '[torch.nn.init.kaiming_normal_(m.weight) for m in network.modules() if hasattr(m, "weight")]; ' +
    'save_file({k: t.half() for k, t in network.state_dict().items()}, sys.argv[1])';
  execFileSync(python, ['-c', script, join(folder, 'weights.safetensors')], { cwd: training });
  const classes = Array.from({ length: 1000 }, (_, i) => ({ wnid: `n${i}`, name: `class ${i}` }));
  writeFileSync(join(folder, 'classes.json'), JSON.stringify(classes));
  const next = random(3);
  for (const [split, count] of [
    ['train', 6],
    ['val', 2],
  ] as const) {
    for (const { wnid } of classes.slice(0, 2)) {
      mkdirSync(join(folder, 'photos', split, wnid), { recursive: true });
      for (let i = 0; i < count; i++) {
        const pixels = Uint8Array.from({ length: 9 * 9 * 3 }, () => 256 * next());
        await sharp(pixels, { raw: { width: 9, height: 9, channels: 3 } })
          .resize(80, 80)
          .jpeg()
          .toFile(join(folder, 'photos', split, wnid, `${i}.jpg`));
      }
    }
  }
  const file = join(folder, 'tiny.yaml');
  writeFileSync(
    file,
    `name: tiny
threads: 1
data: { name: made, train: photos, photos: 12, evaluate: photos/val, ratePhotos: 2 }
backbones: { small: { weights: weights.safetensors, classes: classes.json } }
base: { backbone: small, epochs: 1, size: 64, batch: 4, imagesPerSecond: 30 }
groups:
  - { model: light, blocks: 0, warmStart: true, axes: { rateTarget: [1, 0.5] } }
  - { model: universal, stops: [0, 1], rateTargets: [0.5], headStart: 0.5 }
`,
  );
  return file;
}

/** What every trial of a store found, without times. */
function found(store: string): Record<string, unknown> {
  const trials = join(store, 'trials');
  return Object.fromEntries(
    readdirSync(trials)
      .toSorted()
      .map((id) => {
        const { rows } = JSON.parse(readFileSync(join(trials, id, 'results.json'), 'utf8')) as {
          rows: Record<string, unknown>[];
        };
        const kept = ['series', 'point', 'settings', 'top1', 'top5', 'payloadBpp', 'edgeMacs', 'photos'];
        return [id, rows.map((row) => Object.fromEntries(kept.map((name) => [name, row[name]])))];
      }),
  );
}

/** Finished trials, by when they were finished. */
function finished(store: string): Map<string, number> {
  const trials = join(store, 'trials');
  if (!existsSync(trials)) return new Map();
  return new Map(
    readdirSync(trials)
      .map((id) => join(trials, id, 'results.json'))
      .filter((file) => existsSync(file))
      .map((file) => [file, statSync(file).mtimeMs]),
  );
}

describe.skipIf(missing)('sweep', () => {
  test(
    'a plan, a run that is killed twice, and the same numbers as one that never was',
    async () => {
      const plan = await raccoon(['sweep', spec, '--dry-run']);
      expect(plan.code, plan.stderr).toBe(0);
      expect(plan.stdout).toContain('tiny: 3 trials, 3 trainings');
      expect(plan.stdout).toMatch(/^light-n0 target=1 seed=1 +[0-9a-f]{16} +new +1 M +12 +0\.0 +0\.0$/m);
      expect(plan.stdout).toMatch(/estimated: 0 minutes of training left .* by imagesPerSecond of the spec/);

      const whole = await raccoon(['sweep', spec, '--store', join(folder, 'whole'), '--no-report']);
      expect(whole.code, whole.stderr).toBe(0);
      expect(whole.stdout).toContain('3 trials: 0 were finished, 3 done now, 0 failed');
      expect(whole.stderr).toContain('3/3 raccoon seed=1: done\n');

      const store = join(folder, 'killed');
      const next = random(7);
      let kept = new Map<string, number>();
      for (const trials of [1, 2]) {
        const sweep = start(['sweep', spec, '--store', store]);
        while (finished(store).size < trials && sweep.child.exitCode === null) await sleep(20);
        await sleep(2000 * next()); // somewhere in the next trial
        sweep.child.kill('SIGKILL');
        await sweep.ended;
        kept = finished(store);
      }
      const rest = await raccoon(['sweep', spec, '--store', store]);
      expect(rest.code, rest.stderr).toBe(0);
      expect(rest.stdout).toMatch(/3 trials: [23] were finished, [01] done now, 0 failed/);
      for (const [file, time] of kept) expect(finished(store).get(file)).toBe(time);
      expect(found(store)).toEqual(found(join(folder, 'whole')));
      expect(readFileSync(join(store, 'report/report.html'), 'utf8')).toContain('light-n0');

      const tables = await raccoon(['sweep', spec, '--store', store, '--tables']);
      expect(tables.stdout).toContain('tiny: 3 of 3 trials finished, 4 photos of made; measured');
    },
    10 * MINUTES,
  );

  test(
    'a trial that fails is written down, the others go on, the exit code is 1',
    async () => {
      const text = readFileSync(spec, 'utf8');
      const bad = join(folder, 'bad.yaml');
      writeFileSync(
        bad,
        `${text.slice(0, text.indexOf('groups:'))}groups:
  - { model: light, blocks: 0, rateTarget: 0.5, axes: { batch: [13, 4] } }
`,
      );
      const ended = await raccoon(['sweep', bad, '--no-report']);
      expect(ended.code).toBe(1);
      expect(ended.stdout).toContain('2 trials: 0 were finished, 1 done now, 1 failed');
      expect(ended.stderr).toContain(
        '1/2 light-n0 batch=13 target=0.5 seed=1: 12 photos do not fill a batch of 13',
      );
      const errors = readdirSync(join(folder, 'tiny-sweep/trials'), { recursive: true, encoding: 'utf8' });
      expect(errors.filter((name) => name.endsWith('error.json'))).toHaveLength(1);
    },
    5 * MINUTES,
  );

  test('a spec that is wrong: the line, and nothing is made', async () => {
    const empty = temporaryFolder();
    writeFileSync(join(empty, 'wrong.yaml'), 'name: wrong\nengine: cloud\n');
    const ended = await raccoon(['sweep', 'wrong.yaml'], empty);
    expectFailure(ended, /wrong\.yaml:2: engine: /);
    expect(readdirSync(empty)).toEqual(['wrong.yaml']);
  });

  test.skipIf(noRay)(
    'a real Ray cluster on this machine: the same numbers as those of the local engine above',
    async () => {
      const store = join(folder, 'ray');
      const ended = await raccoon(['sweep', spec, '--engine', 'ray', '--store', store, '--no-report']);
      expect(ended.code, ended.stderr).toBe(0);
      expect(ended.stdout).toContain('3 trials: 0 were finished, 3 done now, 0 failed');
      expect(found(store)).toEqual(found(join(folder, 'whole')));
    },
    10 * MINUTES,
  );
});
