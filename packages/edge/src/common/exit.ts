/** What the local exit says of an image. */
export interface LocalAnswer {
  /** (K), calibrated. */
  readonly probabilities: Float64Array;
  /** The most probable classes, first to last. */
  readonly top: readonly number[];
  /** Probability of the first class, p1. */
  readonly confidence: number;
  /** p1 - p2. */
  readonly margin: number;
}

/**
 * The local exit's answer from its logits (K), which temperature scaling calibrates: softmax(logits / temperature)
 * (Guo et al. 2017). Of equal probabilities the lower index comes first.
 */
export function localAnswer(logits: Float32Array, temperature = 1, classes = 5): LocalAnswer {
  const probabilities = softmax(logits, temperature);
  const top: number[] = []; // two at least: the margin needs them
  const wanted = Math.max(2, classes);
  for (const [k, p] of probabilities.entries()) {
    if (top.length === wanted && p <= probabilities[top.at(-1)!]!) continue;
    const place = top.findIndex((other) => p > probabilities[other]!);
    top.splice(place < 0 ? top.length : place, 0, k);
    if (top.length > wanted) top.pop();
  }
  const [first, second] = top;
  const confidence = probabilities[first!]!;
  return {
    probabilities,
    top: top.slice(0, classes),
    confidence,
    margin: confidence - probabilities[second!]!,
  };
}

/** Probabilities of logits (K). */
export function softmax(logits: Float32Array, temperature = 1): Float64Array {
  let highest = -Infinity;
  for (const logit of logits) if (logit > highest) highest = logit;
  let sum = 0;
  const probabilities = Float64Array.from(logits, (logit) => {
    const power = Math.exp((logit - highest) / temperature);
    sum += power;
    return power;
  });
  return probabilities.map((power) => power / sum);
}
