import { findPoint, type ExitCalibration, type Manifest, type Precision } from '@raccoon/bundle';
import { autoPolicy } from './auto.ts';
import { candidatesOf } from './candidates.ts';
import { calibrationOf } from './exit-accuracy.ts';
import { fixedPolicy } from './fixed.ts';
import type { Limits, Policy } from './policy.ts';
import { thresholdPolicy } from './threshold.ts';
import { tokenBucketPolicy } from './token-bucket.ts';
import { ucbPolicy, type BanditOptions } from './ucb.ts';

/** Every policy by its name on the command line. */
export const POLICY_NAMES = ['fixed', 'threshold', 'token-bucket', 'ucb', 'sliding-ucb', 'auto'] as const;
export type PolicyName = (typeof POLICY_NAMES)[number];

/** Confidence from which the exit's answer stands for a bandit, as I-SplitEE found for its harder data. */
const ALPHA = 0.6;
/** What costs a bandit as much as the whole confidence, where there is no deadline, ms. */
const COST_MS = 1000;
/** Weight of exploration: rewards of an arm differ by about 1. */
const BETA = 0.5;
/** Pulls that count in the sliding window. */
const WINDOW = 250;

/** What is read of a row of `raccoon bench`: the times of one encoder on this device, ms. */
export interface ProfileRow {
  readonly n: number;
  readonly precision: Precision;
  readonly imageMs: { readonly p50: number; readonly p95: number };
  readonly encoderMs: { readonly p50: number; readonly p95: number };
}

export interface PolicyOptions {
  readonly manifest: Manifest;
  readonly limits?: Limits;
  /** A device profile: what times are expected of before any was measured here. */
  readonly profile?: { readonly rows: readonly ProfileRow[] };
  /** Default: the bundle's own, where it has one. */
  readonly calibration?: readonly ExitCalibration[];
  /** What the user has fixed; `auto`, `ucb` and `sliding-ucb` choose the rest, the others take the bundle's default for it. */
  readonly blocks?: number;
  readonly rate?: number;
  readonly precision?: Precision;
  /** D0: the local exit answers if its margin is above it. Default: the calibrated one, where the exit is trusted. */
  readonly threshold?: number;
  /** Settings of `ucb` and `sliding-ucb` that are not to be the usual ones. */
  readonly bandit?: Partial<BanditOptions>;
}

/**
 * A policy by its name.
 * @throws BundleError `unknown-point` if the bundle has no point as fixed
 * @throws RangeError if it is `token-bucket` without a limit of bytes per second
 */
export function createPolicy(name: PolicyName, options: PolicyOptions): Policy {
  const { manifest, limits = {}, blocks, rate, precision, threshold } = options;
  const fallback = manifest.points[manifest.defaultPoint]!;
  const calibrations = options.calibration ?? manifest.exit?.calibration ?? [];

  /** The one point of a policy that does not choose it. */
  function onePoint(): number {
    return findPoint(manifest, blocks ?? fallback.n, rate ?? fallback.q, precision ?? fallback.precision);
  }
  /** D0 of that point's encoder; none if the exit is not trusted. */
  function thresholdOf(point: number): number | undefined {
    const { n, precision: arithmetic = 'float32' } = manifest.points[point]!;
    const calibration = calibrationOf(calibrations, { n, precision: arithmetic });
    return threshold ?? (calibration?.trusted ? calibration.threshold : undefined);
  }
  function bandit(window?: number): Policy {
    const pins = { blocks, rate, precision: precision ?? fallback.precision ?? 'float32' };
    const trusted = threshold !== undefined || calibrations.some((one) => one.trusted);
    const settings = {
      alpha: threshold ?? (trusted ? ALPHA : Infinity),
      beta: BETA,
      mu: 1,
      costMs: limits.deadlineMs ?? COST_MS,
      ...options.bandit,
      window: window === undefined ? undefined : (options.bandit?.window ?? window),
    };
    return ucbPolicy(name, manifest, candidatesOf(manifest, pins), settings, limits);
  }

  switch (name) {
    case 'fixed':
      return fixedPolicy(manifest, onePoint(), limits);
    case 'threshold':
      return thresholdPolicy(manifest, onePoint(), thresholdOf(onePoint()), limits);
    case 'token-bucket': {
      const { bytesPerSecond } = limits;
      if (bytesPerSecond === undefined) {
        throw new RangeError('token-bucket spends a limit of bytes per second: set one');
      }
      return tokenBucketPolicy(manifest, onePoint(), calibrations, { ...limits, bytesPerSecond });
    }
    case 'ucb':
      return bandit();
    case 'sliding-ucb':
      return bandit(WINDOW);
    case 'auto':
      return autoPolicy(manifest, {
        limits,
        pins: { blocks, rate, precision },
        profile: options.profile?.rows ?? [],
        calibrations,
        threshold,
      });
    default:
      throw new RangeError(`no policy ${name satisfies never as string}: ${POLICY_NAMES.join(', ')}`);
  }
}
