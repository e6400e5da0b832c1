import { pointName, type ExitCalibration, type Manifest } from '@raccoon/bundle';
import { z } from 'zod';
import { calibrationOf } from './exit-accuracy.ts';
import { withoutLink } from './fixed.ts';
import type { Action, Limits, Policy } from './policy.ts';
import { restoreState, saveState } from './state.ts';
import { thresholdAt, thresholdsByLevel } from './value-iteration.ts';

/** Depth of the bucket: so many seconds of its rate may be sent at once. */
const DEPTH_SECONDS = 10;
/** The bucket never holds less than so many images: one must fit in. */
const LEAST_IMAGES = 4;
const LEVELS = 64;
/** The latest gains are their distribution; thresholds are computed again after so many images. */
const WINDOW = 256;
const REFRESH = 32;
/** Weight of the newest in the moving means of bytes and of the time between images. */
const NEWEST = 0.05;

const learned = z.strictObject({
  tokens: z.number().nonnegative(),
  gains: z.array(z.number()).max(WINDOW),
  bytes: z.number().positive(),
  betweenMs: z.number().nonnegative().optional(),
});

/**
 * Bytes as tokens: they come in at the limit's rate, and an image is sent where it is expected to gain more than the tokens
 * are worth later. The worth, a threshold for each level of the bucket, follows from the gains and bytes that were seen
 * (`thresholdsByLevel`). What is not sent, the local exit answers.
 */
export function tokenBucketPolicy(
  manifest: Manifest,
  point: number,
  calibrations: readonly ExitCalibration[],
  { bytesPerSecond, deadlineMs }: Limits & { readonly bytesPerSecond: number },
): Policy {
  const name = 'token-bucket';
  const chosen = manifest.points[point]!;
  const { n, precision = 'float32', measured, expectedBpp } = chosen;
  const { width, height } = manifest.input;
  const calibration = calibrationOf(calibrations, { n, precision });

  let bytes = ((measured?.payloadBpp ?? expectedBpp) * width * height) / 8;
  const depth = Math.max(DEPTH_SECONDS * bytesPerSecond, LEAST_IMAGES * bytes);
  let tokens = depth;
  let gains: number[] = [];
  let betweenMs: number | undefined;
  let decidedAt: number | undefined;
  let thresholds: Float64Array | undefined;
  let fresh = 0;

  /** Expected gain of sending, in accuracies 0 to 1; without a calibration, how unsure the exit is. */
  function gainOf(margin: number | undefined): number {
    if (margin === undefined) return 1; // no exit: every image gains as much
    const bin = calibration?.margins.findLast((one) => margin >= one.margin);
    return bin ? Math.max(0, bin.cloudTop1 - bin.exitTop1) / 100 : 1 - margin;
  }

  function look(gain: number, size: number, sinceMs: number | undefined): void {
    const newest = Math.max(NEWEST, 1 / (gains.length + 1));
    gains.push(gain);
    if (gains.length > WINDOW) gains.shift();
    bytes += newest * (size - bytes);
    if (sinceMs !== undefined) {
      betweenMs = betweenMs === undefined ? sinceMs : betweenMs + newest * (sinceMs - betweenMs);
    }
    if (!thresholds || ++fresh >= REFRESH) {
      const bucket = { depth, income: (bytesPerSecond * (betweenMs ?? 0)) / 1000, cost: bytes };
      thresholds = thresholdsByLevel(gains, bucket, LEVELS);
      fresh = 0;
    }
  }

  return {
    name,
    encoders: [{ n, precision }],
    chooseEncoder: () => ({ n, precision }),
    chooseAction({ now, link }, sighting): Action {
      const size = sighting.bytesAt(point);
      const sinceMs = decidedAt === undefined ? undefined : Math.max(0, now - decidedAt);
      decidedAt = now;
      tokens = Math.min(depth, tokens + (bytesPerSecond * (sinceMs ?? 0)) / 1000);
      const gain = gainOf(sighting.exit?.margin);
      look(gain, size, sinceMs);
      if (deadlineMs !== undefined && !link.up) return withoutLink(sighting, 'the link is down');
      const state = `${tokens.toFixed(0)} of ${depth.toFixed(0)} bytes in the bucket`;
      if (size > tokens) return withoutLink(sighting, `${state}, ${size.toFixed(0)} needed`);
      const threshold = (thresholdAt(thresholds!, tokens, depth) * size) / bytes; // a small one takes fewer tokens
      const compared = `gain ${gain.toFixed(3)}, ${threshold.toFixed(3)} asked for with ${state}`;
      if (gain <= threshold) return withoutLink(sighting, compared);
      tokens -= size;
      return { kind: 'send', point, reason: `${pointName(chosen)}: ${compared}` };
    },
    observe: () => undefined,
    save: () => saveState(name, manifest, { tokens, gains, bytes, betweenMs }),
    restore(state) {
      ({ tokens, gains, bytes, betweenMs } = restoreState(state, name, manifest, learned));
      tokens = Math.min(tokens, depth);
      thresholds = undefined;
    },
  };
}
