// One edge, one link and one cloud in virtual time. Estimate and policy are the client's own; what an image costs and what
// each side says of it comes from the recording (links-recording.mjs).
import { LinkEstimate, WIRE_OVERHEAD_BYTES } from '@raccoon/client';
import { sentAgainAt } from '../helpers/link.mjs';
import { random } from '../helpers/random.mjs';

/** Streams of `raccoon cloud` take so many requests without an answer. */
const MAX_IN_FLIGHT = 64;
/** A client leaves a stream that has not answered for so long, ms. */
const SILENCE_MS = 10_000;
/** The first wait between dials, ms; half of it is random. */
const REDIAL_MS = 100;
/** TCP repeats an opening after so many ms, twice as many, ... */
const SYN_TIMEOUT_MS = 1000;
/** TCP's opening, HTTP/2's settings, hello and welcome. */
const OPENING_TRIPS = 3;
/** What the wire carries of an answer: five classes, or those for the sum with the exit's. */
const ANSWER_BYTES = 150;
const CASCADE_ANSWER_BYTES = 400;
/** The client's reserve for the local answer before the deadline, ms, on top of the encoder's time. */
const RESERVE_MS = 2;

/**
 * A link that changes: phases [{ at, bytesPerSecond, rttMs, jitterMs, loss, blackout }], what is left out stays as it was.
 * Half of the round trip each way, the rate for either way.
 */
export class Link {
  #phases;

  constructor(phases) {
    let last = { bytesPerSecond: Infinity, rttMs: 0, jitterMs: 0, loss: 0, blackout: false };
    this.#phases = phases.map((phase) => (last = { ...last, ...phase }));
  }

  /** The phase at `t`, and when it ends. */
  at(t) {
    let i = this.#phases.length - 1;
    while (i > 0 && this.#phases[i].at > t) i--;
    return [this.#phases[i], this.#phases[i + 1]?.at ?? Infinity];
  }
}

/** One way of a link, for one connection: first in, first out. */
class Way {
  #link;
  #draw;
  #free = 0;
  #last = 0;
  /** End of a blackout -> when TCP tries again after it. */
  #resumes = new Map();

  constructor(link, draw) {
    this.#link = link;
    this.#draw = draw;
  }

  /** When `bytes` that are sent at `now` arrive. Calls are in the order of `now`. */
  send(now, bytes) {
    let t = Math.max(now, this.#free);
    for (let left = bytes; ;) {
      const [{ bytesPerSecond, rttMs, blackout }, end] = this.#link.at(t);
      if (blackout) {
        if (!this.#resumes.has(end)) this.#resumes.set(end, sentAgainAt(t, end, rttMs / 2));
        t = this.#resumes.get(end);
        continue;
      }
      const done = t + (1000 * left) / bytesPerSecond;
      if (done <= end) {
        t = done;
        break;
      }
      left -= ((end - t) * bytesPerSecond) / 1000;
      t = end;
    }
    this.#free = t;
    const [{ rttMs, jitterMs, loss }] = this.#link.at(t);
    let arrival = t + rttMs / 2 - (jitterMs / 2) * Math.log(1 - this.#draw());
    for (let segment = 0; segment < bytes; segment += 1448) {
      if (this.#draw() < loss) arrival += 200 + rttMs;
    }
    const [phase, end] = this.#link.at(arrival);
    if (phase.blackout) {
      if (!this.#resumes.has(end)) this.#resumes.set(end, sentAgainAt(t, end, rttMs / 2));
      arrival = this.#resumes.get(end) + phase.rttMs / 2;
    }
    this.#last = Math.max(this.#last, arrival);
    return this.#last;
  }
}

/**
 * Runs images through an edge as the client does: encoded one after another; then sent, or answered by the local exit; at the
 * deadline the local exit's answer, if there is one.
 * @param run.link Link; run.images: [index into the recording], one every `everyMs`; run.deadlineMs; run.seed
 * @param run.policy of @raccoon/edge; run.estimates: whether it looks at the link's estimate
 * @param run.view what the recording says: encodeMs(encoder, image), exit(encoder, image) -> { confidence, margin } or undefined,
 *   bytes(point, image), cloudMs(point, image), cloudConfidence(point, image), cascade: whether answers carry many classes
 * @returns [{ image, encoder, action, source: 'cloud' | 'edge' | 'none', bytes, totalMs }], one an image, in their order
 */
export function simulate({ link, images, everyMs, deadlineMs, seed, policy, estimates = true, view }) {
  const draw = random(seed);
  const events = new Events();
  const estimate = new LinkEstimate();
  const outcomes = [];
  const waiting = new Map(); // encoded, and no line takes it
  let line = new Line(link, draw);
  const queue = []; // for the encoder
  let encoding = false;
  let freeAt = 0;
  let cloudFree = 0;
  let blockMs = 0;
  estimate.opened(0);

  const statsAt = (now) => (estimates ? estimate.stats(now) : { ...NOTHING_KNOWN, up: line !== undefined });
  const situation = (now, since) => {
    const stats = statsAt(now);
    return { now, elapsedMs: now - since, link: stats, queue: stats };
  };

  for (const [id, image] of images.entries()) {
    const since = id * everyMs;
    events.add(since, () => {
      queue.push({ since, id, image, bytes: 0 });
      encode(since);
    });
  }
  events.run();
  return outcomes;

  function encode(now) {
    if (encoding || queue.length === 0) return;
    encoding = true;
    const job = queue.shift();
    job.encoder = policy.chooseEncoder(situation(now, job.since));
    job.encodeMs = view.encodeMs(job.encoder, job.image);
    blockMs = Math.max(job.encodeMs, 0.9 * blockMs);
    freeAt = now + job.encodeMs;
    events.add(freeAt, () => {
      encoding = false;
      decide(freeAt, job);
      encode(freeAt);
    });
  }

  /** The encoder network holds the thread up that reads answers and clocks. */
  function whenFree(now, then) {
    if (encoding) events.add(freeAt, () => whenFree(freeAt, then));
    else then(now);
  }

  function decide(now, job) {
    const { since, image, encoder, encodeMs } = job;
    const exit = view.exit(encoder, image);
    job.exit = exit;
    job.action = policy.chooseAction(situation(now, since), {
      encoder,
      encodeMs,
      ...(exit && { exit }),
      bytesAt: (point) => view.bytes(point, image),
    });
    job.decidedAt = now;
    if (job.action.kind === 'local' && exit) return settle(now, job, 'edge');
    if (job.action.kind !== 'send') return settle(now, job, 'none');
    const reserveMs = exit ? Math.min(deadlineMs / 4, RESERVE_MS + blockMs) : 0;
    const giveUpAt = since + deadlineMs - reserveMs;
    if (giveUpAt <= now) return giveUp(now, job);
    events.add(giveUpAt, () => whenFree(giveUpAt, (then) => giveUp(then, job)));
    waiting.set(job.id, job);
    flush(now);
  }

  function giveUp(now, job) {
    if (job.settled) return;
    waiting.delete(job.id);
    estimate.forgotten(now, job.id);
    settle(now, job, job.exit ? 'edge' : 'none');
  }

  function settle(now, job, source) {
    job.settled = true;
    const totalMs = now - job.since;
    const asDecided = source === (job.action.kind === 'send' ? 'cloud' : 'edge');
    const { image, encoder, action, encodeMs, bytes, answerMs } = job;
    outcomes[job.id] = { image, encoder, action, source, bytes, totalMs };
    policy.observe({
      now,
      action,
      encoder,
      encodeMs,
      bytes,
      inTime: asDecided && totalMs <= deadlineMs,
      ...(answerMs !== undefined && {
        answerMs,
        cloudConfidence: view.cloudConfidence(action.point, image),
      }),
      ...(job.exit && { exitConfidence: job.exit.confidence }),
    });
  }

  function flush(now) {
    if (!line) return;
    for (const job of waiting.values()) {
      if (line.sent.size >= MAX_IN_FLIGHT) return;
      waiting.delete(job.id);
      send(now, job);
    }
  }

  function send(now, job) {
    const { action, image } = job;
    const own = line;
    const bytes = view.bytes(action.point, image);
    if (own.sent.size === 0) listen(now, own);
    own.sent.set(job.id, job);
    job.bytes += bytes;
    if (estimates) estimate.sent(now, job.id, bytes + WIRE_OVERHEAD_BYTES);
    const arrival = own.up.send(now, bytes + WIRE_OVERHEAD_BYTES);
    events.add(arrival, () => {
      if (own !== line) return;
      const serviceMs = view.cloudMs(action.point, image);
      cloudFree = Math.max(cloudFree, arrival) + serviceMs;
      const cloudMs = cloudFree - arrival;
      events.add(cloudFree, () => {
        if (own !== line) return;
        const back = own.down.send(arrival + cloudMs, view.cascade ? CASCADE_ANSWER_BYTES : ANSWER_BYTES);
        events.add(back, () => whenFree(back, (then) => answer(then, own, job, cloudMs)));
      });
    });
  }

  function answer(now, own, job, cloudMs) {
    if (own !== line) return;
    own.sent.delete(job.id);
    listen(now, own);
    if (estimates) estimate.answered(now, job.id, cloudMs);
    if (!job.settled) {
      job.answerMs = now - job.decidedAt;
      settle(now, job, 'cloud');
    }
    flush(now);
  }

  /** From now on silence counts. */
  function listen(now, own) {
    const turn = ++own.turn;
    events.add(now + SILENCE_MS, () => {
      if (own !== line || own.turn !== turn || own.sent.size === 0) return;
      line = undefined;
      estimate.closed(now + SILENCE_MS);
      for (const job of own.sent.values()) if (!job.settled) waiting.set(job.id, job);
      dial(now + SILENCE_MS + REDIAL_MS * (0.5 + draw() / 2));
    });
  }

  function dial(now) {
    let timeout = SYN_TIMEOUT_MS;
    let at = now;
    for (let [phase] = link.at(at); phase.blackout; [phase] = link.at(at)) {
      at += timeout;
      timeout *= 2;
    }
    const open = at + OPENING_TRIPS * link.at(at)[0].rttMs;
    events.add(open, () => {
      line = new Line(link, draw);
      estimate.opened(open);
      flush(open);
    });
  }
}

const NOTHING_KNOWN = {
  rttMs: 0,
  bytesPerSecond: Infinity,
  bytesInFlight: 0,
  unansweredMs: 0,
  errorMs: 0,
  cloudMs: 0,
};

/** One stream on a connection of its own. */
class Line {
  /** Without an answer. */
  sent = new Map();
  turn = 0;

  constructor(link, draw) {
    this.up = new Way(link, draw);
    this.down = new Way(link, draw);
  }
}

/** What is to happen, by its time; of one time, in the order in which it was said. */
class Events {
  #heap = [];
  #count = 0;

  add(at, run) {
    const heap = this.#heap;
    const event = { at, order: this.#count++, run };
    let i = heap.length;
    for (let parent; i > 0 && before(event, heap[(parent = (i - 1) >> 1)]); i = parent)
      heap[i] = heap[parent];
    heap[i] = event;
  }

  run() {
    for (let event = this.#next(); event; event = this.#next()) event.run();
  }

  #next() {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

const before = (a, b) => a.at < b.at || (a.at === b.at && a.order < b.order);
