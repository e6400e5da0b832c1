import { RansError } from './errors.ts';

/** Bits of a probability; the frequencies of a distribution sum to 2^16. */
export const PROBABILITY_BITS = 16;
export const TOTAL: number = 1 << PROBABILITY_BITS;

/** One distribution: `frequencies[k]` belongs to symbol `offset + k`, the last one to the escape. */
export interface Distribution {
  readonly offset: number;
  readonly frequencies: ArrayLike<number>;
}

/**
 * From how often each symbol was seen: `counts[k]` of symbol `offset + k`. What was never seen gets the least
 * frequency there is, and so does the escape unless `escapes` were seen.
 * Throws `RansError` 'invalid-table' for counts that are not finite and at least 0, or more than 65535 of them.
 */
export function fromCounts(offset: number, counts: ArrayLike<number>, escapes = 0): Distribution {
  return { offset, frequencies: apportion([...Array.from(counts), escapes]) };
}

/**
 * From a probability mass: `probabilities[k]` of symbol `offset + k`; what is missing to 1 is the escape's.
 * Every frequency is at least 1 and the sum exact (largest remainders). Floats decide here, so do this once, where the
 * tables are made, and ship the integers.
 * Throws `RansError` 'invalid-table' for a probability that is not finite and at least 0, or a sum above 1.
 */
export function fromProbabilities(offset: number, probabilities: ArrayLike<number>): Distribution {
  const list = Array.from(probabilities);
  const rest = 1 - list.reduce((a, b) => a + b, 0);
  if (!(rest >= -1e-6)) throw invalid(`probabilities sum to ${1 - rest}; the sum must be at most 1`);
  return { offset, frequencies: apportion([...list, Math.max(0, rest)]) };
}

/**
 * From a quantised CDF: integers that begin at 0, rise strictly and end at 65536; the last step is the escape's.
 * Throws `RansError` 'invalid-table' otherwise.
 */
export function fromCdf(offset: number, cdf: ArrayLike<number>): Distribution {
  if (cdf.length < 3 || cdf[0] !== 0 || cdf[cdf.length - 1] !== TOTAL) {
    throw invalid(
      `a CDF of ${cdf.length} values from ${cdf[0]} to ${cdf[cdf.length - 1]}; it must go from 0 to ${TOTAL}`,
    );
  }
  const distribution = {
    offset,
    frequencies: Array.from({ length: cdf.length - 1 }, (_, k) => cdf[k + 1]! - cdf[k]!),
  };
  checkDistribution(distribution, 'the CDF');
  return distribution;
}

/**
 * The rules of a distribution, so that the coder need not think of them: symbols are int16; there is at least one
 * besides the escape; every frequency is at least 1, so everything can be coded; the sum is exactly 65536, so no
 * frequency takes all of it and every one fits 16 bits. Throws `RansError` 'invalid-table', beginning with `name`.
 */
export function checkDistribution({ offset, frequencies }: Distribution, name: string): void {
  const symbols = frequencies.length - 1;
  if (symbols < 1)
    throw invalid(`${name} has ${frequencies.length} entries; it needs a symbol and the escape`);
  if (!Number.isInteger(offset) || offset < -0x8000 || offset + symbols - 1 > 0x7fff) {
    throw invalid(`${name} covers symbols ${offset} to ${offset + symbols - 1}; they must be int16`);
  }
  let sum = 0;
  for (let k = 0; k <= symbols; k++) {
    const frequency = frequencies[k]!;
    if (!Number.isInteger(frequency) || frequency < 1) {
      throw invalid(`${name} has frequency ${frequency} at entry ${k}; every one must be an integer >= 1`);
    }
    sum += frequency;
  }
  if (sum !== TOTAL) throw invalid(`${name} has frequencies that sum to ${sum}; the sum must be ${TOTAL}`);
}

/** Integers >= 1 that sum to 65536: one for each weight, the others in proportion, what is left to the largest remainders. */
function apportion(weights: readonly number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  const bad = weights.find((weight) => !(weight >= 0 && weight < Infinity));
  if (bad !== undefined) throw invalid(`a weight of ${bad}; weights must be finite and at least 0`);
  if (!(sum > 0 && sum < Infinity))
    throw invalid(`the weights sum to ${sum}; the sum must be finite and above 0`);
  if (weights.length < 2 || weights.length > TOTAL)
    throw invalid(`${weights.length} entries; there can be 2 to ${TOTAL}`);
  const shares = weights.map((weight) => (weight / sum) * (TOTAL - weights.length));
  const frequencies = shares.map((share) => 1 + Math.floor(share));
  const missing = TOTAL - frequencies.reduce((a, b) => a + b, 0);
  const remainder = (k: number): number => shares[k]! - Math.floor(shares[k]!);
  const largest = [...shares.keys()].toSorted((a, b) => remainder(b) - remainder(a) || a - b);
  for (const k of largest.slice(0, missing)) frequencies[k]! += 1;
  return frequencies;
}

function invalid(what: string): RansError {
  return new RansError('invalid-table', what);
}
