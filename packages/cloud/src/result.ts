import type { ClassScore, Result } from '@raccoon/transport';

/**
 * Logits to class probabilities, `exp(x - max) / sum`.
 * @param logits (K)
 * @returns (K), sums to 1
 */
export function softmax(logits: Float32Array): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const probabilities = Float64Array.from(logits, (logit) => Math.exp(logit - max));
  const sum = probabilities.reduce((a, b) => a + b, 0);
  return probabilities.map((p) => p / sum);
}

/**
 * What a client is told about one image.
 * @param logits (K)
 * @param topK classes to list, most probable first; equal ones by index
 */
export function toResult(logits: Float32Array, topK: number, wantLogits: boolean): Result {
  const probabilities = softmax(logits);
  const order = Array.from(logits.keys()).toSorted((a, b) => logits[b]! - logits[a]! || a - b);
  const score = (index: number): ClassScore => ({
    index,
    probability: probabilities[index]!,
    logit: logits[index]!,
  });
  const margin = probabilities[order[0]!]! - (order.length > 1 ? probabilities[order[1]!]! : 0);
  const top = order.slice(0, topK).map(score);
  return wantLogits ? { top, margin, logits } : { top, margin };
}
