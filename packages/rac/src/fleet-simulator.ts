import { mulberry32 } from './random.ts';
import type { ServiceTimes } from './fleet-service-time.ts';

/** One instance of the service, as it is simulated. */
export interface SimulatedReplica {
  /** What a worker takes for a batch, ms; `random` is in [0, 1). */
  readonly serviceMs: (images: number, random: () => number) => number;
  readonly workers: number;
  /** Images that run together, at most. */
  readonly maxBatch: number;
  /** How long a request waits for company while a worker is idle, ms. */
  readonly maxBatchDelayMs: number;
  /** Requests that wait, at most; the next is refused. */
  readonly maxQueue: number;
}

/** Who decides which replica gets what. */
export interface Balancer {
  /** `two-choices`: the one with fewer outstanding of two at random, which is Envoy's `LEAST_REQUEST`. */
  readonly by: 'random' | 'round-robin' | 'two-choices' | 'least-outstanding';
  /** Every message anew; or a stream when it opens, with all that it will ever carry. */
  readonly per: 'message' | 'stream';
  /** Who send, each as much, and know only of what they have sent themselves: 1 is a proxy, more are clients that balance. */
  readonly senders: number;
}

export interface FleetTraffic {
  readonly replicas: readonly SimulatedReplica[];
  readonly balancer: Balancer;
  /** Poisson arrivals, of all senders together. */
  readonly imagesPerSecond: number;
  /** Images in all; the first tenth is not counted. */
  readonly images: number;
  readonly seed: number;
}

export interface SimulatedFleet {
  readonly answered: number;
  readonly refused: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly meanBatch: number;
  /** Of all that were answered, 0 to 1; index: replica. */
  readonly shares: Float64Array;
  /** Busy workers of all workers, 0 to 1. */
  readonly utilisation: number;
}

/** Something that will happen. */
interface Event {
  readonly at: number;
  readonly replica: Running;
  /** Answered; absent: somebody has waited long enough for company. */
  readonly batch?: readonly Waiting[];
  /** When it began. */
  readonly since: number;
}

interface Waiting {
  readonly arrivedAt: number;
  readonly sender: number;
  readonly counts: boolean;
}

/** A replica at work. */
interface Running {
  readonly index: number;
  readonly config: SimulatedReplica;
  /** Oldest first, from `head`. */
  queue: Waiting[];
  head: number;
  idle: number;
  busyMs: number;
  answered: number;
}

/**
 * A fleet, event by event: Poisson arrivals, a balancer, and replicas that batch as the service does: an idle worker takes all
 * that waits, at most `maxBatch`, at once or when the oldest has waited for company long enough. (The service cuts full batches
 * a little before a worker is free; the same requests are in them.) First come, first served: one caller, or many alike.
 */
export function simulateFleet(traffic: FleetTraffic): SimulatedFleet {
  const { replicas, balancer, imagesPerSecond, images, seed } = traffic;
  const random = mulberry32(seed);
  const fleet: Running[] = replicas.map((config, index) => ({
    index,
    config,
    queue: [],
    head: 0,
    idle: config.workers,
    busyMs: 0,
    answered: 0,
  }));
  const choose = chooser(balancer, fleet.length, random);
  const events = new Heap();
  const latencies: number[] = [];
  let batches = 0;
  let batched = 0;
  let refused = 0;
  let now = 0;
  let endedAt = Infinity;

  for (let image = 0; image < images; image++) {
    const at = now - (Math.log(1 - random()) * 1000) / imagesPerSecond;
    for (let event = events.before(at); event; event = events.before(at)) happen(event);
    now = at;
    const sender = Math.floor(random() * balancer.senders);
    const replica = fleet[choose.replica(sender)]!;
    const counts = image >= images / 10;
    if (replica.queue.length - replica.head >= replica.config.maxQueue) {
      if (counts) refused++;
      continue;
    }
    choose.sent(sender, replica.index);
    replica.queue.push({ arrivedAt: at, sender, counts });
    dispatch(replica, at);
  }
  endedAt = now; // what is left is answered, too
  for (let event = events.before(Infinity); event; event = events.before(Infinity)) happen(event);

  const answered = latencies.length;
  const workers = replicas.reduce((sum, replica) => sum + replica.workers, 0);
  const sorted = Float64Array.from(latencies).toSorted();
  return {
    answered,
    refused,
    meanMs: sorted.reduce((a, b) => a + b, 0) / answered,
    p50Ms: nearestRank(sorted, 0.5),
    p95Ms: nearestRank(sorted, 0.95),
    p99Ms: nearestRank(sorted, 0.99),
    meanBatch: batched / batches,
    shares: Float64Array.from(fleet, (replica) => replica.answered / answered),
    utilisation: fleet.reduce((sum, { busyMs }) => sum + busyMs, 0) / (workers * endedAt),
  };

  function happen({ at, replica, batch, since }: Event): void {
    if (batch) replica.busyMs += Math.max(0, Math.min(at, endedAt) - since);
    for (const { arrivedAt, sender, counts } of batch ?? []) {
      choose.answered(sender, replica.index);
      if (!counts) continue;
      replica.answered++;
      latencies.push(at - arrivedAt);
    }
    if (batch) replica.idle++;
    dispatch(replica, at);
  }

  function dispatch(replica: Running, at: number): void {
    const { maxBatch, maxBatchDelayMs, serviceMs } = replica.config;
    while (replica.idle > 0 && replica.head < replica.queue.length) {
      const waiting = replica.queue.length - replica.head;
      const ripeAt = replica.queue[replica.head]!.arrivedAt + maxBatchDelayMs;
      if (waiting < maxBatch && ripeAt > at) {
        events.push({ at: ripeAt, replica, since: at });
        return;
      }
      const batch = replica.queue.slice(replica.head, replica.head + maxBatch);
      replica.head += batch.length;
      if (replica.head > 1024) {
        replica.queue = replica.queue.slice(replica.head);
        replica.head = 0;
      }
      const ms = serviceMs(batch.length, random);
      replica.idle--;
      batches++;
      batched += batch.length;
      events.push({ at: at + ms, replica, batch, since: at });
    }
  }
}

function nearestRank(sorted: Float64Array, q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

/** Service times as measured, log-normal about their means. */
export function sampled({ ms, variation }: ServiceTimes): SimulatedReplica['serviceMs'] {
  const sigma = Math.sqrt(Math.log(1 + variation ** 2));
  if (sigma === 0) return (images) => ms[images]!;
  return (images, random) => ms[images]! * Math.exp(sigma * normal(random) - sigma ** 2 / 2);
}

/** Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

interface Chooser {
  replica(sender: number): number;
  sent(sender: number, replica: number): void;
  answered(sender: number, replica: number): void;
}

function chooser({ by, per, senders }: Balancer, replicas: number, random: () => number): Chooser {
  const anyone = (): number => Math.floor(random() * replicas);
  /** What each sender has with each replica: messages without an answer, or streams. */
  const outstanding = Array.from({ length: per === 'message' ? senders : 1 }, () => new Int32Array(replicas));
  const next = Int32Array.from({ length: senders }, anyone);

  const ways: Record<Balancer['by'], (sender: number) => number> = {
    random: anyone,
    'round-robin': (sender) => (next[sender] = (next[sender]! + 1) % replicas),
    'two-choices': (sender) => {
      const own = outstanding[sender]!;
      const [a, b] = [anyone(), anyone()];
      return own[b]! < own[a]! ? b : a;
    },
    'least-outstanding': (sender) => {
      const own = outstanding[sender]!;
      let best = anyone(); // among equals, anyone
      for (let i = 1, at = best; i < replicas && own[best]! > 0; i++) {
        at = at + 1 === replicas ? 0 : at + 1;
        if (own[at]! < own[best]!) best = at;
      }
      return best;
    },
  };
  const pick = ways[by];
  if (per === 'message') {
    return {
      replica: pick,
      sent: (sender, replica) => void outstanding[sender]![replica]!++,
      answered: (sender, replica) => void outstanding[sender]![replica]!--,
    };
  }
  const streams = Array.from({ length: senders }, () => {
    const replica = pick(0); // one place opens them all, and knows of all
    outstanding[0]![replica]!++;
    return replica;
  });
  return { replica: (sender) => streams[sender]!, sent: () => undefined, answered: () => undefined };
}

/** Events, the first that is due on top. */
class Heap {
  readonly #events: Event[] = [];

  push(event: Event): void {
    const events = this.#events;
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (events[parent]!.at <= event.at) break;
      events[at] = events[parent]!;
      at = parent;
    }
    events[at] = event;
  }

  /** Takes the first event out if it is due before `at`. */
  before(at: number): Event | undefined {
    const events = this.#events;
    const first = events[0];
    if (!first || first.at > at) return undefined;
    const last = events.pop()!;
    if (events.length === 0) return first;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && events[child + 1]!.at < events[child]!.at) child++;
      if (events[child]!.at >= last.at) break;
      events[hole] = events[child]!;
      hole = child;
    }
    events[hole] = last;
    return first;
  }
}
