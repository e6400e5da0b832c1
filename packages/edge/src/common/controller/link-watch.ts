import type { Feedback, Situation } from './policy.ts';
import { predictAnswerMs, probabilityInTime } from './prediction.ts';

/** From one probe of a link to the next, ms: after one request that was not answered in time, and at most. */
const FIRST_PROBE_MS = 200;
const LAST_PROBE_MS = 2000;
const PROBE_GROWTH = 1.5;

/** How far a link is to be trusted with one more request. */
export class LinkWatch {
  #up = false;
  #sentAt = -Infinity;
  /** Requests in succession that were not answered in time. */
  #misses = 0;
  /** Twice the bytes of the largest request that was answered in time since the link is open. */
  #proven = 0;

  /** To be called with every situation, before anything is asked. */
  look({ link }: Situation): void {
    if (link.up && !this.#up) {
      this.#sentAt = -Infinity;
      this.#misses = 0;
      this.#proven = 0;
    }
    this.#up = link.up;
  }

  sent(now: number): void {
    this.#sentAt = now;
  }

  observe({ action, bytes, inTime }: Feedback): void {
    if (action.kind !== 'send') return;
    this.#misses = inTime ? 0 : this.#misses + 1;
    if (inTime) this.#proven = Math.max(this.#proven, 2 * bytes);
  }

  /** P(answer within `leftMs` to `bytes` sent now); `errorMs` of the sender's own time comes on top of the link's. */
  inTime({ link, queue }: Situation, bytes: number, leftMs: number, errorMs = 0): number {
    if (leftMs === Infinity) return 1;
    if (!link.up) return 0;
    return probabilityInTime(predictAnswerMs(link, queue, bytes), leftMs, Math.hypot(link.errorMs, errorMs));
  }

  /**
   * The most bytes that can be risked on a link that has not shown its rate: small requests until something was answered, then
   * sizes that grow with answers, as in TCP's slow start.
   */
  mostBytes({ link }: Situation, least: number): number {
    return link.bytesPerSecond < Infinity ? Infinity : Math.max(least, this.#proven);
  }

  /**
   * Whether a small request may go to a link that will hardly answer it in time, to see whether it does. One that is on its way
   * still will tell when it is answered; the next follows only in case it was lost.
   */
  mayProbe({ now, link }: Situation): boolean {
    if (!link.up) return false;
    const wait = Math.min(LAST_PROBE_MS, FIRST_PROBE_MS * PROBE_GROWTH ** this.#misses);
    return now - this.#sentAt >= (link.unansweredMs > 0 ? LAST_PROBE_MS : wait);
  }
}
