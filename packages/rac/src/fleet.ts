import { Latency, steady } from './fleet-queue.ts';
import { atSpeed, capacity, type ServiceTimes } from './fleet-service-time.ts';
import { sampled, simulateFleet, type Balancer, type SimulatedFleet } from './fleet-simulator.ts';

export interface FleetDemand {
  readonly imagesPerSecond: number;
  /** 99 % of the answers within this, arrival at the service to answer, ms. */
  readonly p99Ms: number;
  readonly times: ServiceTimes;
  /** Of each replica. */
  readonly workers: number;
  /** Requests that wait at a replica, at most. */
  readonly maxQueue: number;
  /** How fast the replicas are, where `times` is 1: as many of each. */
  readonly speeds: readonly number[];
  /** Replicas that may be missing: a node that is drained, a rollout. */
  readonly spare: number;
}

export interface FleetPlan {
  /** To be run. */
  readonly replicas: number;
  /** Of these, with none missing to spare. */
  readonly needed: number;
  /** Images per second of one replica with full batches, mean of the speeds. */
  readonly imagesPerSecondOfOne: number;
  /** What the model says of `needed` replicas. */
  readonly model: {
    readonly utilisation: number;
    readonly refused: number;
    readonly meanBatch: number;
    readonly meanMs: number;
    readonly p50Ms: number;
    readonly p95Ms: number;
    readonly p99Ms: number;
  };
}

/** Refusals that are none, as a share. */
const HARDLY_EVER = 1e-4;
/** Fleets that are thought about. */
const MOST = 100_000;

/**
 * The fewest replicas that answer in time if every request goes to a worker at random and waits there: an upper bound for
 * balancers that know more, and for workers that share a queue.
 * @throws RangeError where no number of replicas would do
 */
export function planFleet(demand: FleetDemand): FleetPlan {
  const { p99Ms, spare, speeds } = demand;
  for (const [name, value] of Object.entries({ imagesPerSecond: demand.imagesPerSecond, p99Ms })) {
    if (!(value > 0 && value < Infinity)) throw new RangeError(`${name} must be above 0, not ${value}`);
  }
  if (!speeds.every((speed) => speed > 0 && speed < Infinity))
    throw new RangeError(`speeds must be above 0, not ${speeds.join(', ')}`);
  const least = expectation(demand, MOST).p99Ms;
  if (least > p99Ms) {
    const slowest = Math.min(...speeds);
    throw new RangeError(
      `p99 of ${p99Ms} ms cannot be met by any number of replicas: one image alone takes ${least.toFixed(1)} ms` +
        (slowest < 1 ? ` (the slowest replicas have speed ${slowest})` : ''),
    );
  }
  const meets = (replicas: number): boolean => {
    const expected = expectation(demand, replicas);
    return expected.p99Ms <= p99Ms && expected.refused <= HARDLY_EVER;
  };
  const needed = fewest(fullBatches(demand), MOST, meets);
  return {
    replicas: needed + spare,
    needed,
    imagesPerSecondOfOne: capacityOfOne(demand),
    model: expectation(demand, needed),
  };
}

/** With full batches, mean of the speeds. */
function capacityOfOne({ times, workers, speeds }: FleetDemand): number {
  return (capacity(times, workers) * speeds.reduce((a, b) => a + b)) / speeds.length;
}

/** Replicas that would do if all batches were always full. */
function fullBatches(demand: FleetDemand): number {
  return Math.min(MOST, Math.ceil(demand.imagesPerSecond / capacityOfOne(demand)));
}

/** What the model says of a fleet of so many replicas. */
function expectation(
  { imagesPerSecond, times, workers, maxQueue, speeds }: FleetDemand,
  replicas: number,
): FleetPlan['model'] {
  const imagesPerMs = imagesPerSecond / 1000 / (replicas * workers);
  const latency = new Latency();
  let [utilisation, refused, batches] = [0, 0, 0];
  const share = 1 / speeds.length;
  for (const [speed, count] of counted(speeds)) {
    const one = steady(atSpeed(times, speed), Math.ceil(maxQueue / workers), imagesPerMs);
    latency.addAll(one.latency, count * share);
    utilisation += one.utilisation * count * share;
    refused += one.refused * count * share;
    batches += (count * share) / one.meanBatch;
  }
  return {
    utilisation,
    refused,
    meanBatch: 1 / batches,
    meanMs: latency.meanMs,
    p50Ms: latency.quantileMs(0.5),
    p95Ms: latency.quantileMs(0.95),
    p99Ms: latency.quantileMs(0.99),
  };
}

/** A fleet of so many replicas, simulated. */
export function simulateDemand(
  { imagesPerSecond, times, workers, maxQueue, speeds }: FleetDemand,
  replicas: number,
  balancer: Balancer,
  seed = 1,
): SimulatedFleet {
  const maxBatch = times.ms.length - 1;
  return simulateFleet({
    replicas: Array.from({ length: replicas }, (_, i) => ({
      serviceMs: sampled(atSpeed(times, speeds[i % speeds.length]!)),
      workers,
      maxBatch,
      maxBatchDelayMs: 0,
      maxQueue,
    })),
    balancer,
    imagesPerSecond,
    images: Math.min(400_000, Math.max(40_000, 400 * replicas)),
    seed,
  });
}

/** The fewest replicas that meet the demand in the simulation; undefined where `most` do not. */
export function fewestSimulated(demand: FleetDemand, most: number, balancer: Balancer): number | undefined {
  const meets = (replicas: number): boolean => {
    const { p99Ms, refused, answered } = simulateDemand(demand, replicas, balancer);
    return p99Ms <= demand.p99Ms && refused / (refused + answered) <= HARDLY_EVER;
  };
  return meets(most) ? fewest(Math.min(most, fullBatches(demand)), most, meets) : undefined;
}

/** The first of `low` ... `high` that meets it, if more of them do no worse; `high` if none before does. */
function fewest(low: number, high: number, meets: (count: number) => boolean): number {
  let step = low;
  while (step < high && !meets(step)) {
    low = step + 1;
    step = Math.min(high, 2 * step);
  }
  high = step;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (meets(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function counted(speeds: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const speed of speeds) counts.set(speed, (counts.get(speed) ?? 0) + 1);
  return counts;
}
