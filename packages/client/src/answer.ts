import type { Manifest } from '@raccoon/bundle';
import { accumulate, localAnswer, type LocalAnswer } from '@raccoon/edge';
import type { Result } from '@raccoon/transport';
import type { ScoredClass } from './classification.ts';

/** What an image shows, whoever said so. */
export interface Answer {
  top: ScoredClass[];
  margin: number;
  logits?: Float32Array;
}

/**
 * Classes that are asked for when the cloud's logits are added to the local exit's. Every logit would be 4 bytes a class on
 * the way down: 4 kB for 1,000 classes, more than most images cost on the way up. These are about 300 bytes.
 */
export const CASCADE_CLASSES = 20;

/** The cloud's answer as it came. */
export function cloudAnswer({ top, margin, logits }: Result, manifest: Manifest): Answer {
  return {
    top: top.map((score) => ({ ...score, ...manifest.classes[score.index]! })),
    margin,
    ...(logits && { logits }),
  };
}

/** The local exit's answer. */
export function exitAnswer(
  logits: Float32Array,
  said: LocalAnswer,
  manifest: Manifest,
  topK: number,
): Answer {
  return { ...scored(logits, said, manifest, topK), logits };
}

/**
 * What cloud and local exit say together: Z' = alpha * Z_cloud + Z_exit (EdgeCompress, Kong 2023, eq. 6.9).
 * The sum is not calibrated: its probabilities are those of softmax.
 */
export function cascadeAnswer(
  result: Result,
  exitLogits: Float32Array,
  alpha: number | undefined,
  manifest: Manifest,
  topK: number,
): Answer {
  const logits = accumulate(exitLogits, cloudLogits(result, exitLogits.length), alpha);
  return { ...scored(logits, localAnswer(logits, 1, topK), manifest, topK), logits };
}

/**
 * Logits (K) of the cloud. Where it gave those of its first classes only, what probability these leave is spread evenly over
 * the others, so that softmax of the whole gives the cloud's own probabilities back.
 */
export function cloudLogits({ top, logits }: Result, classes: number): Float32Array {
  if (logits) return logits;
  const first = top[0]!;
  const given = top.reduce((sum, { probability }) => sum + probability, 0);
  const others = classes - top.length;
  // a logit is log(probability) but for a constant, which the first class knows
  const share = Math.max(1 - given, 1e-6) / Math.max(1, others);
  const all = new Float32Array(classes).fill(first.logit + Math.log(share / first.probability));
  for (const { index, logit } of top) all[index] = logit;
  return all;
}

function scored(
  logits: Float32Array,
  { probabilities, top, margin }: LocalAnswer,
  manifest: Manifest,
  topK: number,
): Answer {
  return {
    top: top.slice(0, topK).map((index) => ({
      index,
      probability: probabilities[index]!,
      logit: logits[index]!,
      ...manifest.classes[index]!,
    })),
    margin,
  };
}
