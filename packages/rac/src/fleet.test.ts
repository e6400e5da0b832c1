import { expect, test } from 'vitest';
import { fewestSimulated, planFleet, simulateDemand, type FleetDemand } from './fleet.ts';
import { Latency, steady } from './fleet-queue.ts';
import { capacity, serviceTimes } from './fleet-service-time.ts';
import { sampled, simulateFleet, type Balancer, type SimulatedReplica } from './fleet-simulator.ts';

const ONE_BY_ONE: Omit<SimulatedReplica, 'serviceMs'> = {
  workers: 1,
  maxBatch: 1,
  maxBatchDelayMs: 0,
  maxQueue: 100_000,
};
const RANDOM: Balancer = { by: 'random', per: 'message', senders: 1 };

/** The queue M/M/c (Erlang 1917): how probable it is to wait. */
function erlangC(servers: number, load: number): number {
  let blocked = 1;
  for (let n = 1; n <= servers; n++) blocked = (load * blocked) / (n + load * blocked);
  return blocked / (1 - (load / servers) * (1 - blocked));
}

/** The queue M/D/1 (Erlang 1909): how probable it is to wait at most `t`; time in services. */
function erlangD(load: number, t: number): number {
  let [sum, factorial] = [0, 1];
  for (let j = 0; j <= Math.floor(t); j++) {
    if (j > 0) factorial *= j;
    sum += ((load * (j - t)) ** j / factorial) * Math.exp(-load * (j - t));
  }
  return (1 - load) * sum;
}

/** Mean 10 ms. */
const exponential: SimulatedReplica['serviceMs'] = (_, random) => -10 * Math.log(1 - random());

const rising = (counts: readonly number[]): void => expect(counts).toEqual(counts.toSorted((a, b) => a - b));

/** 1 image in `one` ms, 16 in `sixteen`. */
const times = (one: number, sixteen: number, variation = 0): ReturnType<typeof serviceTimes> =>
  serviceTimes(
    [
      { images: 1, ms: one, sdMs: variation * one },
      { images: 16, ms: sixteen, sdMs: variation * sixteen },
    ],
    16,
  );

const demand: FleetDemand = {
  imagesPerSecond: 1000,
  p99Ms: 60,
  times: times(6, 60),
  workers: 1,
  maxQueue: 256,
  speeds: [1],
  spare: 1,
};

test('service times are lines between what was measured, and never fall', () => {
  const { ms, variation } = serviceTimes(
    [
      { images: 8, ms: 40, sdMs: 4 },
      { images: 2, ms: 10 },
      { images: 4, ms: 9 },
    ],
    16,
  );
  expect([...ms].map((value) => Math.round(10 * value) / 10)).toEqual([
    0, 5, 10, 10, 10, 16.8, 24.5, 32.3, 40, 45, 50, 55, 60, 65, 70, 75, 80,
  ]);
  expect(variation).toBeCloseTo(0.1 / 3);
  expect(() => serviceTimes([], 16)).toThrow('no service time');
  expect(() => serviceTimes([{ images: 0, ms: 3 }], 16)).toThrow('0 images in 3 ms');
});

test.each([
  [1, 0.7],
  [4, 3.2],
])('simulator: %i servers with exponential times wait as Erlang C says', (workers, load) => {
  const { meanMs, utilisation } = simulateFleet({
    replicas: [{ ...ONE_BY_ONE, workers, serviceMs: exponential }],
    balancer: RANDOM,
    imagesPerSecond: 100 * load,
    images: 200_000,
    seed: 3,
  });
  const expected = 10 + (erlangC(workers, load) * 10) / (workers - load);
  expect(Math.abs(meanMs / expected - 1)).toBeLessThan(0.03);
  expect(Math.abs(utilisation / (load / workers) - 1)).toBeLessThan(0.02);
});

test('one at a time and always as long: model and simulator are M/D/1', () => {
  const load = 0.8;
  const fixed = serviceTimes([{ images: 1, ms: 10 }], 1);
  const model = steady(fixed, 500, load / 10);
  const simulated = simulateFleet({
    replicas: [{ ...ONE_BY_ONE, serviceMs: sampled(fixed) }],
    balancer: RANDOM,
    imagesPerSecond: 100 * load,
    images: 200_000,
    seed: 4,
  });
  const mean = 10 * (1 + load / 2 / (1 - load)); // Pollaczek and Khinchine
  expect(model.utilisation).toBeCloseTo(load, 6);
  expect(Math.abs(model.latency.meanMs / mean - 1)).toBeLessThan(0.005);
  expect(Math.abs(simulated.meanMs / mean - 1)).toBeLessThan(0.03);
  for (const q of [0.5, 0.9, 0.99]) {
    const waited = model.latency.quantileMs(q) / 10 - 1;
    expect(Math.abs(erlangD(load, waited) - q), `${q}`).toBeLessThan(0.006);
  }
});

test('one at a time, log-normal: the mean is Pollaczek and Khinchine’s', () => {
  const [load, variation] = [0.7, 0.5];
  const varied = serviceTimes([{ images: 1, ms: 10, sdMs: 5 }], 1);
  const mean = 10 * (1 + (load * (1 + variation ** 2)) / 2 / (1 - load));
  expect(Math.abs(steady(varied, 400, load / 10).latency.meanMs / mean - 1)).toBeLessThan(0.01);
});

test.each([
  [1, 5, 0.6],
  [0.5, 5, 0.6],
  [3.6, 2, 0.3],
])(
  'batches of any size, %d ms an image and %d a batch: the mean is just below Inoue’s bound',
  (a, b, load) => {
    const lines = serviceTimes(
      [
        { images: 1, ms: a + b },
        { images: 96, ms: 96 * a + b },
      ],
      96,
    );
    const rate = load / a;
    // arXiv 1912.06322, theorem 2: the smaller of both
    const first = ((a + b) / 2 / (1 - load)) * (1 + 2 * rate * b + (1 - rate * b) / (1 + load));
    const second = (1.5 * b) / (1 - load) + ((a / 2) * (load + 2)) / (1 - load ** 2);
    const ratio = steady(lines, 300, rate).latency.meanMs / Math.min(first, second);
    expect(ratio).toBeLessThan(1.002);
    expect(ratio).toBeGreaterThan(0.96);
  },
);

// 10 %: what the p99 of 100,000 simulated images is uncertain by at 90 % load
test.each(
  [
    [6, 60, 0],
    [6, 96, 0],
    [10, 12, 0],
    [6, 60, 0.3],
  ].flatMap(([one, sixteen, variation]) =>
    [0.3, 0.6, 0.9].map((load) => ({ one, sixteen, variation, load })),
  ),
)('model and simulation agree within 10 percent: $one and $sixteen ms +- $variation, load $load', (row) => {
  const { one, sixteen, variation, load } = row as Record<keyof typeof row, number>;
  const of = times(one, sixteen, variation);
  const imagesPerSecond = load * capacity(of, 1);
  const simulated = simulateFleet({
    replicas: [{ ...ONE_BY_ONE, maxBatch: 16, maxQueue: 256, serviceMs: sampled(of) }],
    balancer: RANDOM,
    imagesPerSecond,
    images: 100_000,
    seed: 1,
  });
  const { latency, meanBatch } = steady(of, 256, imagesPerSecond / 1000);
  expect(Math.abs(latency.meanMs / simulated.meanMs - 1)).toBeLessThan(0.1);
  expect(Math.abs(latency.quantileMs(0.99) / simulated.p99Ms - 1)).toBeLessThan(0.1);
  expect(Math.abs(meanBatch / simulated.meanBatch - 1)).toBeLessThan(0.05);
});

test.each([
  [2, 0.5],
  [4, 0.8],
  [8, 0.9],
])('%i workers at load %d do no worse with one queue than with a queue each', (workers, load) => {
  for (const of of [times(6, 96), times(10, 12)]) {
    const rate = load * capacity(of, 1);
    const shared = simulateFleet({
      replicas: [{ ...ONE_BY_ONE, workers, maxBatch: 16, maxQueue: 256, serviceMs: sampled(of) }],
      balancer: RANDOM,
      imagesPerSecond: workers * rate,
      images: 60_000,
      seed: 2,
    });
    expect(shared.p99Ms).toBeLessThan(1.02 * steady(of, 256 / workers, rate / 1000).latency.quantileMs(0.99));
  }
});

test('a latency is a distribution', () => {
  const latency = new Latency();
  latency.add(10, 0.9);
  latency.add(100, 0.1);
  expect(latency.meanMs).toBeCloseTo(19);
  expect(Math.abs(latency.quantileMs(0.5) / 10 - 1)).toBeLessThan(0.002);
  expect(Math.abs(latency.quantileMs(0.99) / 100 - 1)).toBeLessThan(0.002);
});

test('more images, a tighter bound or slower replicas never need fewer replicas', () => {
  const needed = (change: Partial<FleetDemand>): number => planFleet({ ...demand, ...change }).needed;
  rising([1, 10, 100, 300, 1000, 3000].map((imagesPerSecond) => needed({ imagesPerSecond })));
  rising([200, 100, 60, 40, 20].map((p99Ms) => needed({ p99Ms })));
  rising([1, 0.9, 0.5].map((speed) => needed({ speeds: [1, speed] })));
  expect(planFleet({ ...demand, spare: 2 }).replicas).toBe(needed({}) + 2);
});

test('what no fleet can do is said', () => {
  expect(() => planFleet({ ...demand, p99Ms: 5 })).toThrow(/p99 of 5 ms.*one image alone takes 6\.0 ms/);
  expect(() => planFleet({ ...demand, speeds: [1, 0.01] })).toThrow(/slowest replicas have speed 0\.01/);
  expect(() => planFleet({ ...demand, imagesPerSecond: 0 })).toThrow('imagesPerSecond must be above 0');
  expect(() => planFleet({ ...demand, speeds: [0] })).toThrow('speeds must be above 0');
});

test('the planned fleet meets its bound in the simulation, and a balancer that knows more needs no more', () => {
  const { needed, model } = planFleet(demand);
  const random = simulateDemand(demand, needed, RANDOM);
  expect(random.p99Ms).toBeLessThan(1.05 * demand.p99Ms);
  expect(Math.abs(random.p99Ms / model.p99Ms - 1)).toBeLessThan(0.1);
  const least: Balancer = { by: 'least-outstanding', per: 'message', senders: 1 };
  expect(simulateDemand(demand, needed, least).p99Ms).toBeLessThan(random.p99Ms);
  expect(fewestSimulated(demand, needed, least)).toBeLessThanOrEqual(needed);
  expect(fewestSimulated({ ...demand, p99Ms: 6.5 }, needed, least)).toBeUndefined();
});

test('least outstanding: a replica that is slowed 3 times gets a share that follows; streams do not', () => {
  const mixed = { ...demand, speeds: [1, 1, 1 / 3], imagesPerSecond: 240 };
  const share = (balancer: Balancer): number => simulateDemand(mixed, 3, balancer).shares[2]!;
  expect(share({ by: 'least-outstanding', per: 'message', senders: 1 })).toBeLessThan(0.22);
  expect(share({ by: 'round-robin', per: 'message', senders: 1 })).toBeCloseTo(1 / 3, 1);
  expect(share({ by: 'least-outstanding', per: 'stream', senders: 30 })).toBeCloseTo(1 / 3, 1);
});

test('a thousand replicas, and clients that know only of their own requests', () => {
  const large = { ...demand, imagesPerSecond: 120_000 };
  const proxy = simulateDemand(large, 1000, { by: 'two-choices', per: 'message', senders: 1 });
  const clients = simulateDemand(large, 1000, { by: 'two-choices', per: 'message', senders: 500 });
  expect(proxy.answered + proxy.refused).toBe(360_000);
  expect(proxy.p99Ms).toBeLessThan(clients.p99Ms);
});

test('few streams leave replicas without work, and a delay makes larger batches', () => {
  const few = simulateDemand(demand, 10, { by: 'random', per: 'stream', senders: 10 });
  expect(few.shares.filter((share) => share === 0).length).toBeGreaterThan(0);
  const waits = (maxBatchDelayMs: number): number =>
    simulateFleet({
      replicas: [
        { workers: 1, maxBatch: 16, maxBatchDelayMs, maxQueue: 256, serviceMs: sampled(demand.times) },
      ],
      balancer: RANDOM,
      imagesPerSecond: 100,
      images: 20_000,
      seed: 1,
    }).meanBatch;
  expect(waits(20)).toBeGreaterThan(1.5 * waits(0));
});
