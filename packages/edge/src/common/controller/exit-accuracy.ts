import type { ExitCalibration } from '@raccoon/bundle';
import { sameEncoder, type Candidate } from './candidates.ts';
import type { EncoderChoice } from './policy.ts';

/** Expected accuracies for an image, percent. */
export interface ExpectedAccuracy {
  readonly exit: number;
  /** Of the cloud's answer at an operating point. */
  cloud(candidate: Candidate): number;
}

export function calibrationOf(
  calibrations: readonly ExitCalibration[],
  encoder: EncoderChoice,
): ExitCalibration | undefined {
  return calibrations.find((one) => sameEncoder(one, encoder));
}

/**
 * What exit and cloud are expected to get right of images with this margin of the exit: the calibration's bin, where there
 * is one; else, and without a margin, the bundle's means. The bins are of one rate level; others differ as their means do.
 */
export function expectedAccuracy(
  candidates: readonly Candidate[],
  encoder: EncoderChoice,
  calibration: ExitCalibration | undefined,
  margin: number | undefined,
): ExpectedAccuracy {
  const bin = margin === undefined ? undefined : calibration?.margins.findLast((one) => margin >= one.margin);
  if (!bin) {
    const own = candidates.find((candidate) => sameEncoder(candidate, encoder))!;
    return { exit: own.exitTop1, cloud: ({ top1 }) => top1 };
  }
  const binned = calibration!.measured;
  return {
    exit: bin.exitTop1,
    cloud: ({ top1 }) => Math.min(100, Math.max(0, bin.cloudTop1 + top1 - binned.cloudTop1)),
  };
}
