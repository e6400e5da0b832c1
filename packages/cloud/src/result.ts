import type { ClassScore, Result } from '@raccoon/transport';

/**
 * Logits to class probabilities, `exp(x - max) / sum`.
 * @param logits (K)
 * @returns (K), sums to 1
 */
export function softmax(logits: Float32Array): Float64Array {
  let max = -Infinity;
  for (const logit of logits) max = Math.max(max, logit);
  const probabilities = new Float64Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += probabilities[i] = Math.exp(logits[i]! - max);
  for (let i = 0; i < probabilities.length; i++) probabilities[i]! /= sum;
  return probabilities;
}

/**
 * What a client is told about one image.
 * @param logits (K)
 * @param topK classes to list, most probable first; equal ones by index
 */
export function toResult(logits: Float32Array, topK: number, wantLogits: boolean): Result {
  const probabilities = softmax(logits);
  const order = largest(logits, Math.max(topK, 2));
  const [first, second] = order;
  const margin = probabilities[first!]! - (second === undefined ? 0 : probabilities[second]!);
  const top = order
    .slice(0, topK)
    .map((index): ClassScore => ({ index, probability: probabilities[index]!, logit: logits[index]! }));
  return wantLogits ? { top, margin, logits } : { top, margin };
}

/** Sorting is for lists: it costs as much as decoding the image. */
const FEW = 32;

/** Indices of the `count` largest, largest first; equal ones by index. */
function largest(logits: Float32Array, count: number): number[] {
  if (count > FEW) {
    const order = Array.from(logits.keys()).toSorted((a, b) => logits[b]! - logits[a]! || a - b);
    return order.slice(0, count);
  }
  const best: number[] = [];
  for (let i = 0; i < logits.length; i++) {
    if (best.length === count && !(logits[i]! > logits[best[count - 1]!]!)) continue;
    let at = best.length;
    while (at > 0 && logits[i]! > logits[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}
