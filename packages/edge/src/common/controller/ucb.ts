import { pointName, type Manifest } from '@raccoon/bundle';
import { z } from 'zod';
import { encodersOf, sameEncoder, type Candidate } from './candidates.ts';
import { withoutLink } from './fixed.ts';
import type { EncoderChoice, Feedback, Limits, Policy } from './policy.ts';
import { restoreState, saveState } from './state.ts';

export interface BanditOptions {
  /** The local exit answers from this confidence on (I-SplitEE's alpha); above 1 it never does. */
  readonly alpha: number;
  /** Weight of exploration. Rewards are not in [0, 1], so no bound is claimed for any. */
  readonly beta: number;
  /** Weight of cost against confidence. */
  readonly mu: number;
  /** So many ms of encoding, or of waiting for the cloud, cost as much as the whole confidence. */
  readonly costMs: number;
  /** Pulls that count; none: all. */
  readonly window?: number | undefined;
}

/** What an image cost and gave. */
export type Outcome = Pick<
  Feedback,
  'encodeMs' | 'bytes' | 'answerMs' | 'exitConfidence' | 'cloudConfidence'
> & { readonly sent: boolean };

/**
 * I-SplitEE's reward (2401.10541, eq. 1) on what was measured: C_exit - mu * gamma for an answer of the exit,
 * C_cloud - mu * (gamma + o) for one of the cloud. gamma is the encoder's time; o, which the paper sets by hand, the time
 * to the cloud's answer and, under a limit of bytes, the time that its bytes take of that. An image that was sent and not
 * answered has waited in vain.
 */
export function rewardOf(
  { sent, encodeMs, bytes, answerMs, exitConfidence = 0, cloudConfidence }: Outcome,
  { mu, costMs }: Pick<BanditOptions, 'mu' | 'costMs'>,
  bytesPerSecond: number = Infinity,
): number {
  const gamma = encodeMs / costMs;
  if (!sent) return exitConfidence - mu * gamma;
  const o = ((answerMs ?? costMs) + (1000 * bytes) / bytesPerSecond) / costMs;
  return (cloudConfidence ?? exitConfidence) - mu * (gamma + o);
}

const learned = z.strictObject({
  counts: z.array(z.number().nonnegative()),
  sums: z.array(z.number()),
  pulls: z.array(z.strictObject({ arm: z.int().nonnegative(), reward: z.number() })),
});

/**
 * Upper confidence bounds over operating points, by I-SplitEE's algorithm 1: every arm once, then that with the highest
 * Q(i) + beta * sqrt(ln t / N(i)). With a window only the latest pulls count, t too (Garivier and Moulines 2008): what was
 * learned before a shift is forgotten.
 */
export function ucbPolicy(
  name: string,
  manifest: Manifest,
  arms: readonly Candidate[],
  options: BanditOptions,
  { deadlineMs, bytesPerSecond }: Limits,
): Policy {
  const { alpha, beta, window = Infinity } = options;
  let counts = arms.map(() => 0);
  let sums = arms.map(() => 0);
  /** Oldest first; kept only if there is a window. */
  let pulls: { arm: number; reward: number }[] = [];
  /** Decided on, without an outcome yet. */
  const pending = arms.map(() => 0);

  const indexOf = (arm: number, t: number): number => {
    if (counts[arm] === 0) return pending[arm]! > 0 ? -Infinity : Infinity;
    return sums[arm]! / counts[arm]! + beta * Math.sqrt(Math.log(t) / counts[arm]!);
  };

  /** The arm to pull, of those with this encoder if one is given; the first of equal ones. */
  function choose(encoder?: EncoderChoice): number {
    const t = counts.reduce((sum, count) => sum + count, 0);
    let best = -1;
    for (const [arm, candidate] of arms.entries()) {
      if (encoder && !sameEncoder(candidate, encoder)) continue;
      if (best < 0 || indexOf(arm, t) > indexOf(best, t)) best = arm;
    }
    if (best < 0) throw new RangeError(`no arm has the encoder n=${encoder!.n} ${encoder!.precision}`);
    return best;
  }

  function learn(arm: number, reward: number): void {
    counts[arm]!++;
    sums[arm]! += reward;
    if (window === Infinity) return;
    pulls.push({ arm, reward });
    if (pulls.length <= window) return;
    const oldest = pulls.shift()!;
    counts[oldest.arm]!--;
    sums[oldest.arm] = counts[oldest.arm] === 0 ? 0 : sums[oldest.arm]! - oldest.reward;
  }

  return {
    name,
    encoders: encodersOf(arms),
    chooseEncoder() {
      const { n, precision } = arms[choose()]!;
      return { n, precision };
    },
    chooseAction({ link }, sighting) {
      if (deadlineMs !== undefined && !link.up) return withoutLink(sighting, 'the link is down');
      const arm = choose(sighting.encoder);
      const { point } = arms[arm]!;
      pending[arm]!++;
      const mean = counts[arm]! > 0 ? (sums[arm]! / counts[arm]!).toFixed(3) : 'none yet';
      const reason = `${pointName(manifest.points[point]!)}: mean reward ${mean} of ${counts[arm]} pulls`;
      const { exit } = sighting;
      return exit && exit.confidence >= alpha
        ? { kind: 'local', degraded: false, point, reason: `${reason}; the local exit is sure` }
        : { kind: 'send', point, reason };
    },
    observe(feedback) {
      const { action } = feedback;
      if (action.kind === 'drop' || action.point === undefined) return; // no arm was pulled
      const arm = arms.findIndex(({ point }) => point === action.point);
      if (arm < 0) return;
      pending[arm] = Math.max(0, pending[arm]! - 1);
      learn(arm, rewardOf({ ...feedback, sent: action.kind === 'send' }, options, bytesPerSecond));
    },
    save: () => saveState(name, manifest, { counts, sums, pulls }),
    restore(state) {
      const saved = restoreState(
        state,
        name,
        manifest,
        learned.refine(
          (one) =>
            one.counts.length === arms.length &&
            one.sums.length === arms.length &&
            one.pulls.every(({ arm }) => arm < arms.length),
          `it is of another number of operating points than ${arms.length}`,
        ),
      );
      ({ counts, sums, pulls } = saved);
    },
  };
}
