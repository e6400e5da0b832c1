import type { LinkStats, QueueStats } from '@raccoon/edge';

/**
 * What the answers tell about the way to the cloud. No clock and no socket: its owner says when something happened.
 *
 * The model is a queue that one link empties: a request leaves at max(sent, the one before it has left) + bytes / rate and its
 * answer comes a round trip and the cloud's time later. Rate and round trip are those that explain the last answers best
 * (least absolute error, recent ones count more). Unlike a delivery rate (BBR, Cardwell et al. 2016) this needs no link that
 * is kept full: on an idle one the sizes that vary from image to image tell rate from round trip.
 */
export class LinkEstimate {
  #now = -Infinity;
  #up = false;
  /** Sent, in this order, and not answered. */
  #flight: Request[] = [];
  /** The last request known to have passed, and when its answer would have come from a cloud that takes no time. */
  #front = { order: -1, passed: -Infinity };
  #order = 0;
  #samples: Sample[] = [];
  #fit: Fit = { msPerByte: 0, rttMs: 0, cloudMs: 0, errorMs: 0 };
  #fitted = -Infinity;
  /** The latest answers in succession that came far too late (or too early: negative). */
  #surprises = 0;
  /** What the latest of them would make of the link if its bytes were to blame, ms per byte. */
  #suspected = 0;
  /** The error before the first of them. */
  #calmErrorMs = 0;

  /** A stream is open. */
  opened(now: number): void {
    this.#tick(now);
    this.#up = true;
  }

  /** The stream is gone, and whatever was under way. */
  closed(now: number): void {
    this.#tick(now);
    this.#up = false;
    this.#flight = [];
    this.#front = { order: this.#order - 1, passed: -Infinity };
  }

  /** A request goes to the link. @param bytes payload and what the wire adds to it */
  sent(now: number, id: number, bytes: number): void {
    this.#flight.push({ id, order: this.#order++, at: this.#tick(now), bytes, awaited: true });
  }

  /** @param cloudMs of the answer's time, what the cloud took, by its own account */
  answered(now: number, id: number, cloudMs: number): void {
    this.#tick(now);
    const request = this.#flight.find((one) => one.id === id);
    if (!request) return; // of a link that was closed since, or the second answer
    const passed = this.#now - within(cloudMs, this.#now - request.at);
    if (request.order < this.#front.order) {
      // a later one overtook it in the cloud; the link has shown then what it carried
      this.#flight.splice(this.#flight.indexOf(request), 1);
      return;
    }
    const since = this.#flight.filter(({ order }) => order > this.#front.order && order <= request.order);
    this.#learn({ at: this.#now, passed, previous: this.#front.passed, requests: since });
    this.#front = { order: request.order, passed: Math.max(passed, this.#front.passed) };
    this.#flight = this.#flight.filter(
      (one) => one !== request && (one.awaited || one.order > request.order),
    );
  }

  /** Nobody waits for its answer any more. Its bytes are on their way still, and the answer, late or never, tells of the link. */
  forgotten(now: number, id: number): void {
    this.#tick(now);
    const request = this.#flight.find((one) => one.id === id);
    if (request) request.awaited = false;
  }

  stats(now: number): LinkStats & QueueStats {
    this.#tick(now);
    const { rttMs, cloudMs, errorMs } = this.#fit;
    const ahead = this.#flight.filter(({ order }) => order > this.#front.order);
    const overdueMs = this.#overdueMs(ahead);
    const msPerByte = this.#msPerByte(ahead, overdueMs);
    return {
      up: this.#up,
      rttMs,
      bytesPerSecond: msPerByte > 0 ? 1000 / msPerByte : Infinity,
      bytesInFlight: this.#bytesAhead(ahead, overdueMs, msPerByte),
      unansweredMs: this.#now - (this.#flight[0]?.at ?? this.#now),
      errorMs,
      cloudMs,
    };
  }

  /** No clock goes back. */
  #tick(now: number): number {
    if (now > this.#now) this.#now = now;
    return this.#now;
  }

  /** How long the first of `ahead`, all that is not known to have passed, should have been answered. */
  #overdueMs([first]: readonly Request[]): number {
    if (!first || this.#samples.length === 0) return 0;
    const { msPerByte, rttMs, cloudMs, errorMs } = this.#fit;
    const due = leaves([first], this.#front.passed - rttMs, msPerByte) + rttMs + cloudMs;
    return Math.max(0, this.#now - due - TOLERANCE * errorMs);
  }

  /**
   * An answer that is overdue says before it comes that the link has become slower, or stopped. And one that came far too late is
   * taken for a slower link as long as the next one is not there: behind a stall it would have come at once.
   */
  #msPerByte(ahead: readonly Request[], overdueMs: number): number {
    const { msPerByte } = this.#fit;
    const [first] = ahead;
    if (!first) return msPerByte;
    const now = msPerByte + overdueMs / Math.max(1, first.bytes);
    return this.#surprises > 0 ? Math.max(now, this.#suspected) : now;
  }

  /** What the link has to carry before a request of now; all that is under way while its rate is unknown. */
  #bytesAhead(ahead: readonly Request[], overdueMs: number, msPerByte: number): number {
    const { rttMs, cloudMs } = this.#fit;
    const total = ahead.reduce((sum, { bytes }) => sum + bytes, 0);
    if (msPerByte === 0) return total;
    let free = this.#front.passed - rttMs;
    for (const [i, { at, bytes }] of ahead.entries()) {
      free = Math.max(free, at) + bytes * msPerByte;
      // The first has not left yet: its answer would be here. What has kept it so long may keep it as long again.
      if (i === 0) free = Math.max(free, this.#now - rttMs - cloudMs + overdueMs);
    }
    return Math.max(0, free - this.#now) / msPerByte;
  }

  #learn(sample: Sample): void {
    const last = sample.requests.at(-1)!;
    const { msPerByte, rttMs } = this.#fit;
    if (this.#surprises === 0) this.#calmErrorMs = this.#fit.errorMs;
    const expectedMs = rttMs + last.bytes * msPerByte;
    const error = errorOf(sample, msPerByte, rttMs);
    const most = Math.max(SURPRISE * this.#calmErrorMs, LEAST_SURPRISE_MS, LEAST_SURPRISE * expectedMs);
    const surprising = this.#samples.length >= SETTLED && Math.abs(error) > most;
    if (!surprising) this.#surprises = 0;
    else if (Math.sign(error) === Math.sign(this.#surprises)) this.#surprises += Math.sign(error);
    else this.#surprises = Math.sign(error);
    this.#suspected = msPerByte + error / Math.max(1, last.bytes);
    this.#samples.push(sample);
    if (Math.abs(this.#surprises) >= CHANGED) {
      this.#samples.splice(0, this.#samples.length - CHANGED);
      this.#surprises = 0;
    } else if (this.#samples.length > WINDOW) {
      this.#samples.shift();
    }
    if (sample.at < this.#fitted + FIT_EVERY_MS && this.#samples.length > CHANGED) return;
    this.#fit = fit(this.#samples, this.#fitted === -Infinity ? undefined : this.#fit.rttMs);
    this.#fitted = sample.at;
  }
}

interface Request {
  readonly id: number;
  /** Of sending. */
  readonly order: number;
  readonly at: number;
  readonly bytes: number;
  awaited: boolean;
}

/** One answer. */
interface Sample {
  /** When it came. */
  readonly at: number;
  /** When it would have come from a cloud that takes no time. */
  readonly passed: number;
  /** The same of the answer before; -Infinity without one. */
  readonly previous: number;
  /** What passed since: its own request is the last. */
  readonly requests: readonly Request[];
}

interface Fit {
  /** Of serialisation; 0 while nothing shows that the link has a rate. */
  readonly msPerByte: number;
  readonly rttMs: number;
  readonly cloudMs: number;
  readonly errorMs: number;
}

/** Answers that are looked at. */
const WINDOW = 24;
/** After so many further answers one counts half. */
const HALF_LIFE = 6;
/** So many surprises in succession are a change of the link: what was before is forgotten. */
const CHANGED = 3;
/** So many answers make a link that one can be surprised by. */
const SETTLED = 6;
/** What a surprise is: in standard deviations, ms, and as a share of the answer's time, all of them. */
const SURPRISE = 4;
const LEAST_SURPRISE_MS = 10;
const LEAST_SURPRISE = 0.1;
/** An answer is overdue so many standard deviations after its time. */
const TOLERANCE = 2;
/** Errors beyond this many times the median are stalls, and count as so much. */
const STALL = 6;
/** What the former round trip weighs against the first answer after a change; it halves like an answer. */
const FORMER = 0.5;
/** A candidate must explain the answers so much better than the ones before it. */
const LIKELIER = 1 - 1e-6;

/** A fit takes some 100 us: not for each of thousands of answers. */
const FIT_EVERY_MS = 20;

/** Candidates for ms per byte: none, then 8 MB/s to 60 B/s by octaves; then factors around the best of them, twice. */
const OCTAVES: readonly number[] = [0, ...Array.from({ length: 18 }, (_, i) => 2 ** (i - 13))];
const AROUND: readonly (readonly number[])[] = [
  [-2, -1, 1, 2].map((i) => 2 ** (i / 3)),
  [-3, -2, -1, 1, 2, 3].map((i) => 2 ** (i / 16)),
];

/** When the last of `requests` has left a link that is free at `free`. */
function leaves(requests: readonly Request[], free: number, msPerByte: number): number {
  let left = free;
  for (const { at, bytes } of requests) left = Math.max(left, at) + bytes * msPerByte;
  return left;
}

/** How much later than by the model an answer came, ms, the answer before it given. */
function errorOf({ requests, previous, passed }: Sample, msPerByte: number, rttMs: number): number {
  return passed - leaves(requests, previous - rttMs, msPerByte) - rttMs;
}

/**
 * The rate and the round trip under which the samples' errors are least.
 * @param formerRttMs which stays unless another one explains the answers better
 */
function fit(samples: readonly Sample[], formerRttMs: number | undefined): Fit {
  const newest = samples.length - 1;
  const weights = samples.map((_, i) => 2 ** ((i - newest) / HALF_LIFE));
  const former = FORMER * 2 ** (-newest / HALF_LIFE);
  let best = { cost: Infinity, msPerByte: 0, rttMs: 0 };
  const consider = (msPerByte: number, rttMs: number): void => {
    let cost = formerRttMs === undefined ? 0 : former * Math.abs(rttMs - formerRttMs);
    for (let i = newest; i >= 0 && cost < best.cost; i--) {
      cost += weights[i]! * Math.abs(errorOf(samples[i]!, msPerByte, rttMs));
    }
    if (cost < best.cost * LIKELIER) best = { cost, msPerByte, rttMs };
  };
  const considerRate = (msPerByte: number): void => {
    if (formerRttMs !== undefined) consider(msPerByte, formerRttMs);
    consider(msPerByte, rttOf(samples, weights, msPerByte));
  };
  for (const msPerByte of OCTAVES) considerRate(msPerByte);
  for (const factors of AROUND) {
    const { msPerByte: middle } = best;
    if (middle > 0) for (const factor of factors) considerRate(middle * factor);
  }
  const { msPerByte, rttMs } = best;

  const cloudTimes = samples.map(({ at, passed }) => at - passed);
  const cloudMs = weightedMedian(cloudTimes, weights);
  const errors = samples.map((sample, i) =>
    Math.abs(errorOf(sample, msPerByte, rttMs) + cloudTimes[i]! - cloudMs),
  );
  const bound = STALL * weightedMedian(errors, weights) + 1;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const square = errors.reduce((sum, error, i) => sum + weights[i]! * Math.min(error, bound) ** 2, 0);
  return { msPerByte, rttMs, cloudMs, errorMs: Math.sqrt(square / total) };
}

/** The round trip by the requests that found the link idle, if it has this rate. */
function rttOf(samples: readonly Sample[], weights: readonly number[], msPerByte: number): number {
  const trips = samples.map(({ requests, passed }) => passed - leaves(requests, -Infinity, msPerByte));
  let least = Infinity;
  for (const trip of trips) if (trip < least) least = trip;
  const idle = weights.map((weight, i) => {
    const { previous, requests } = samples[i]!;
    return previous - Math.max(least, 0) <= requests[0]!.at || trips[i] === least ? weight : 0;
  });
  return Math.max(0, weightedMedian(trips, idle));
}

function weightedMedian(values: readonly number[], weights: readonly number[]): number {
  const order = values.map((_, i) => i).toSorted((a, b) => values[a]! - values[b]!);
  let left = 0;
  for (const weight of weights) left += weight / 2;
  for (const i of order) {
    left -= weights[i]!;
    if (left <= 0) return values[i]!;
  }
  return values[order.at(-1)!]!; // rounding left a rest
}

/** What a cloud says of its own time, where that can be. */
function within(cloudMs: number, most: number): number {
  return cloudMs >= 0 ? Math.min(cloudMs, most) : 0;
}
