// Load: closed loops, whose next request waits for an answer, and open ones, whose requests come when they come.
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from './lane.mjs';
import { random } from './random.mjs';

/** What a load saw. Times in ms. */
export class Tally {
  codes = {};
  /** Of answered requests, in order of their answers: from the schedule (open loop) or from sending (closed). */
  latencies = [];
  /** When each of them was due, ms from the start. */
  due = [];
  queueMs = [];
  serviceMs = [];
  seconds = 0;
  /** Requests sent, also those that settle and those that were out at the end: what the processors worked for. */
  sent = 0;

  add(outcome, latency, due) {
    const code = codeOf(outcome);
    this.codes[code] = (this.codes[code] ?? 0) + 1;
    if (code !== 'ok') return;
    this.latencies.push(latency);
    this.due.push(due);
    this.queueMs.push(outcome.queueMs);
    this.serviceMs.push(outcome.decodeMs + outcome.inferMs);
  }

  get answered() {
    return this.latencies.length;
  }

  get rate() {
    return this.answered / this.seconds;
  }

  /** Outcomes that are not 'ok'. */
  get failed() {
    return Object.entries(this.codes).reduce((sum, [code, count]) => sum + (code === 'ok' ? 0 : count), 0);
  }

  /** Latencies of the requests that were due from `from` to `to` seconds. */
  between(from, to) {
    return this.latencies.filter((_, i) => this.due[i] >= 1000 * from && this.due[i] < 1000 * to);
  }
}

/**
 * `concurrency` requests at any time, spread over the lanes. What is answered within `seconds` counts, from `settle` seconds
 * after the first request on: both edges lie anywhere in a batch, so the rate is as often above the truth as below. Requests
 * that are still out at the end are awaited.
 */
export async function closedLoop(lanes, payloads, { concurrency, seconds, settle = 1, onOutcome }) {
  const tally = new Tally();
  const start = performance.now() + 1000 * settle;
  const end = start + 1000 * seconds;
  let index = 0;
  const one = async (lane) => {
    for (;;) {
      const at = index++ % payloads.length;
      const sentAt = performance.now();
      tally.sent++;
      const outcome = await lane.ask(payloads[at]).catch((error) => error);
      const now = performance.now();
      onOutcome?.(outcome, at);
      if (now >= end) return;
      if (now >= start) tally.add(outcome, now - sentAt, sentAt - start);
      if (outcome instanceof Error) await sleep(10); // a link that is gone: not a busy loop
    }
  };
  await Promise.all(Array.from({ length: concurrency }, (_, i) => one(lanes[i % lanes.length])));
  tally.seconds = seconds;
  return tally;
}

/**
 * Poisson arrivals at `rate` per second for `seconds`. A latency begins when the request was due, also where this client
 * was late: nothing that the cloud does can slow the arrivals down (no coordinated omission).
 */
export async function openLoop(lanes, payloads, { rate, seconds, seed = 1, onOutcome }) {
  const tally = new Tally();
  const next = random(seed);
  const out = new Set();
  const start = performance.now();
  let due = 0;
  for (let index = 0; ; index++) {
    due += (-1000 * Math.log(1 - next())) / rate;
    if (due > 1000 * seconds) break;
    const wait = start + due - performance.now();
    if (wait > 1) await sleep(wait);
    else if (index % 64 === 0) await turn(); // a burst must not keep answers from being read
    const dueAt = due;
    tally.sent++;
    const at = index % payloads.length;
    const done = lanes[index % lanes.length]
      .ask(payloads[at])
      .catch((error) => error)
      .then((outcome) => {
        out.delete(done);
        onOutcome?.(outcome, at);
        tally.add(outcome, performance.now() - start - dueAt, dueAt);
      });
    out.add(done);
  }
  tally.seconds = seconds;
  await Promise.all(out);
  return tally;
}
