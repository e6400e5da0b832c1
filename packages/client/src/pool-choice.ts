import type { Load } from '@raccoon/transport';

/** What is known of a line when an image is to be sent. Times in ms. */
export interface Candidate {
  /** Images of this client's that have no answer. */
  readonly unanswered: number;
  /** How long the oldest of them has none. */
  readonly oldestMs: number;
  /** Of an answer, beyond what the cloud says that it took. */
  readonly rttMs: number;
  /** What a worker took for an answer's batch, of late; 0: not known yet. */
  readonly batchMs: number;
  /** Since its last answer, or since it is there. */
  readonly silentMs: number;
  /** What is left of its rest: it has failed. */
  readonly restMs: number;
  /** What the cloud has said of itself. */
  readonly load: Load | undefined;
}

/**
 * What others have sent counts half. The report of it is up to a second old and every client that reads it acts on it: taken
 * in full, they move together (`pool-choice.test.ts` has the simulation; 0.25 to 0.5 were best).
 */
const OTHERS = 0.5;
/** What has no answer after so many times its time has not been late in the queue: its cloud has stopped, or slowed down. */
const STOPPED = 4;
/** A replica that is leaving is one for when there is no other, ms. */
const LEAVING_MS = 60_000;
/** What a line's answers have shown counts half after so long without one, ms: what was slow once is tried again. */
const HALF_LIFE_MS = 10_000;
/** Less of a difference is noise. */
const AS_GOOD = 1.1;

/**
 * The line whose answer can be expected first; one of them at random where several are as good. An image waits for what is there
 * before it, so a slower replica is left with fewer images, and one that does not answer at all with none.
 * @param random 0 to 1
 */
export function choose<C extends Candidate>(lines: readonly C[], random: () => number): C | undefined {
  if (lines.length < 2) return lines[0];
  const expected = expectedMs(lines);
  const most = AS_GOOD * Math.min(...expected);
  const best = lines.filter((_, i) => expected[i]! <= most);
  return best[Math.floor(random() * best.length)];
}

/** ms to the answer to one more image, of each line. */
function expectedMs(lines: readonly Candidate[]): number[] {
  const reported = lines.map(({ load }) =>
    load && load.imagesPerSecond > 0 ? 1000 / load.imagesPerSecond : 0,
  );
  const known = reported.filter((ms) => ms > 0);
  const mean = known.reduce((sum, ms) => sum + ms, 0) / Math.max(1, known.length);
  // an older cloud does not tell, and is taken for an average one; where none tells, its batches are as good a measure
  const perImage = lines.map(({ batchMs }, i) => reported[i]! || mean || batchMs || 1);
  const leastPerImage = Math.min(...perImage);
  const leastRtt = Math.min(...lines.map(({ rttMs }) => rttMs));
  return lines.map(({ unanswered, oldestMs, rttMs, silentMs, restMs, load }, i) => {
    const weight = 2 ** (-silentMs / HALF_LIFE_MS);
    const msPerImage = leastPerImage + weight * (perImage[i]! - leastPerImage);
    const roundTripMs = leastRtt + weight * (rttMs - leastRtt);
    const ms = roundTripMs + (unanswered + 1) * msPerImage + OTHERS * (load?.queueMs ?? 0);
    return (oldestMs > STOPPED * ms ? oldestMs : ms) + restMs + (load?.draining ? LEAVING_MS : 0);
  });
}
