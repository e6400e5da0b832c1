import { softmax } from '@raccoon/edge';

/** Bins of the expected calibration error. */
const BINS = 15;
/** Temperatures are looked for between these, to this factor. */
const COLDEST = 0.05;
const HOTTEST = 20;
const ENOUGH = 1.0005;

/**
 * The temperature at which logits (K) give their labels the least negative log-likelihood (Guo et al. 2017). It is convex in
 * 1 / T, so golden-section search over log T finds it.
 */
export function fitTemperature(logits: readonly Float32Array[], labels: readonly number[]): number {
  const loss = (logT: number): number =>
    logits.reduce((sum, one, i) => sum + negativeLogLikelihood(one, labels[i]!, Math.exp(logT)), 0);
  const golden = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [Math.log(COLDEST), Math.log(HOTTEST)];
  let [left, right] = [high - golden * (high - low), low + golden * (high - low)];
  let [lossLeft, lossRight] = [loss(left), loss(right)];
  while (high - low > Math.log(ENOUGH)) {
    if (lossLeft < lossRight) {
      [high, right, lossRight] = [right, left, lossLeft];
      left = high - golden * (high - low);
      lossLeft = loss(left);
    } else {
      [low, left, lossLeft] = [left, right, lossRight];
      right = low + golden * (high - low);
      lossRight = loss(right);
    }
  }
  return Math.exp((low + high) / 2);
}

function negativeLogLikelihood(logits: Float32Array, label: number, temperature: number): number {
  return -Math.log(Math.max(softmax(logits, temperature)[label]!, Number.MIN_VALUE));
}

/** Mean gap between confidence (0 to 1) and accuracy over 15 equally wide bins, weighted by their members (Naeini et al. 2015). */
export function expectedCalibrationError(confidences: readonly number[], rights: readonly boolean[]): number {
  const gaps = new Float64Array(BINS); // sum of confidence - right
  for (const [i, confidence] of confidences.entries()) {
    gaps[Math.min(BINS - 1, Math.floor(confidence * BINS))]! += confidence - Number(rights[i]);
  }
  return gaps.reduce((sum, gap) => sum + Math.abs(gap), 0) / confidences.length;
}

/**
 * Wasserstein-1 distance between two samples on [0, 1]: the area between their distribution functions. How well a measure of
 * confidence tells right answers from wrong ones (thesis 6.5). NaN if one sample is empty.
 */
export function wasserstein(one: readonly number[], other: readonly number[]): number {
  if (one.length === 0 || other.length === 0) return Number.NaN;
  const steps = [
    ...one.map((value) => ({ value, weight: 1 / one.length })),
    ...other.map((value) => ({ value, weight: -1 / other.length })),
  ].toSorted((a, b) => a.value - b.value);
  let area = 0;
  let difference = 0;
  for (const [i, { value, weight }] of steps.entries()) {
    difference += weight;
    const next = steps[i + 1]?.value ?? value;
    area += Math.abs(difference) * (next - value);
  }
  return area;
}

/** Lower end of Wilson's one-sided 95 % interval of a share, percent. */
export function leastShare(hits: number, of: number): number {
  const z = 1.6449;
  const share = hits / of;
  const centre = share + (z * z) / (2 * of);
  const spread = z * Math.sqrt((share * (1 - share) + (z * z) / (4 * of)) / of);
  return (100 * (centre - spread)) / (1 + (z * z) / of);
}
