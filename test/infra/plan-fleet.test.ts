import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectFailure, expectSuccess, raccoon } from '../helpers/cli.ts';
import { shippedBundle, temporaryFolder } from '../helpers/paths.ts';

// `raccoon plan-fleet` as an operator calls it; the model and the simulator have their tests in packages/rac.

const LOAD = ['plan-fleet', '--images-per-second', '2000', '--p99-ms', '100'];

interface Plan {
  replicas: number;
  needed: number;
  workers: number;
  model: { p99Ms: number };
  service: { source: string; batches: { images: number; ms: number }[] };
  simulated: { how: string; p99Ms: number; refused: number }[];
  fewestWithLeastOutstanding: number;
}

async function plan(...args: string[]): Promise<Plan> {
  const ended = await raccoon([...args, '--json']);
  expectSuccess(ended);
  return JSON.parse(ended.stdout) as Plan;
}

test('given times: replicas, what they do, and what was assumed', async () => {
  const given = [...LOAD, '--service-ms', '1:5.6,16:60'];
  const planned = await plan(...given);
  expect(planned).toMatchObject({ replicas: 10, needed: 9, workers: 1 });
  expect(planned.model.p99Ms).toBeLessThanOrEqual(100);
  expect(planned.simulated.length).toBe(5);
  for (const { refused } of planned.simulated) expect(refused).toBe(0);
  expect(planned.fewestWithLeastOutstanding).toBeLessThanOrEqual(9);

  const { stdout } = await raccoon(given);
  expect(stdout).toMatch(
    /^10 replicas for 2,000 images\/s with p99 <= 100 ms: 9, and 1 that may be missing\n/,
  );
  expect(stdout).toContain('Assumed: Poisson arrivals');

  const file = join(temporaryFolder(), 'plan.json');
  writeFileSync(file, JSON.stringify(planned));
  expect(await plan(...LOAD, '--service-ms', file)).toEqual(planned);
  const slower = await plan(...LOAD, '--service-ms', file, '--speeds', '1,0.5', '--spare', '0');
  expect(slower.needed).toBeGreaterThan(9);
  expect(slower.replicas).toBe(slower.needed);
});

test('measured times: the real service, in this process', async () => {
  const easy = ['plan-fleet', '--images-per-second', '1', '--p99-ms', '60000', '--seconds', '2'];
  const ended = await raccoon([...easy, '--bundle', shippedBundle, '--workers', '1', '--json']);
  expect(ended.stderr).toMatch(/^raccoon: measuring imagenet1k-mobilenet [\d.]+ for 2 s\n$/);
  const planned = JSON.parse(ended.stdout) as Plan;
  expect(planned.service.source).toMatch(/measured here, now, with [\d,]+ bytes an image/);
  expect(planned.service.batches.length).toBeGreaterThan(0);
  for (const { images, ms } of planned.service.batches) {
    expect(images).toBeGreaterThan(0);
    expect(ms).toBeGreaterThan(0);
  }
}, 120_000);

test.each<[string[], RegExp]>([
  [['--p99-ms', '5', '--service-ms', '6'], /p99 of 5 ms cannot be met .* one image alone takes 6\.0 ms/],
  [['--p99-ms', '0', '--service-ms', '6'], /--p99-ms.*above 0/],
  [
    ['--service-ms', 'nowhere.json'],
    /--service-ms nowhere\.json is neither ms, nor images:ms pairs, nor a file/,
  ],
  [['--service-ms', '6', '--speeds', '1,x'], /--speeds.*above 0/],
])('it does not plan with %j, and says why', async (args, why) => {
  expectFailure(await raccoon([...LOAD, ...args]), why);
});
