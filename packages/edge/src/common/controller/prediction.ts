import type { LinkStats, QueueStats } from './stats.ts';

/**
 * When an answer is expected to what is sent now, ms from now: what is under way goes first, then the bytes, then the link's
 * and the cloud's own time.
 */
export function predictAnswerMs(
  { bytesInFlight, bytesPerSecond, rttMs }: Pick<LinkStats, 'bytesInFlight' | 'bytesPerSecond' | 'rttMs'>,
  { cloudMs }: QueueStats,
  bytes: number,
): number {
  return (1000 * (bytesInFlight + bytes)) / bytesPerSecond + rttMs + cloudMs;
}

/** Below this share of the prediction nobody knows an answer's time, however steady the link has been. */
const LEAST_ERROR = 0.05;

/** P(answer within `leftMs`) where it is expected after `answerMs` and the error is normal with deviation `errorMs`. */
export function probabilityInTime(answerMs: number, leftMs: number, errorMs: number): number {
  if (leftMs === Infinity) return 1;
  return normal((leftMs - answerMs) / Math.max(errorMs, LEAST_ERROR * answerMs, 1));
}

/** The standard normal distribution function, to 1e-7 (Abramowitz and Stegun 1964, 26.2.17). */
function normal(z: number): number {
  if (z < 0) return 1 - normal(-z);
  const t = 1 / (1 + 0.2316419 * z);
  const tail = [1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153].reduce(
    (sum, factor) => t * (factor + sum),
    0,
  );
  return 1 - (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * tail;
}
