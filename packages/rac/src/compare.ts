import type { Precision } from '@raccoon/bundle';
import type { PhotoOutcome } from './evaluate.ts';
import { mulberry32 } from './random.ts';

/** A row of `raccoon eval --json --photos`. */
export interface ComparedRow {
  n: number;
  q: number;
  precision: Precision;
  top1: number;
  payloadBpp: number;
  photos: readonly PhotoOutcome[];
}

/** test - anchor, in points of top-1, with the interval of a paired bootstrap over the photos. */
export interface Difference {
  mean: number;
  /** 2.5 % and 97.5 % of the resampled means. */
  low: number;
  high: number;
}

const RESAMPLES = 10_000;

/**
 * Paired bootstrap (Efron): photos are drawn with replacement, each with both its outcomes, so what makes a photo hard
 * for everybody is not counted as noise.
 * @throws Error if the photos are not the same in the same order
 */
export function pairedDifference(
  anchor: readonly PhotoOutcome[],
  test: readonly PhotoOutcome[],
  seed = 1,
): Difference {
  if (anchor.length === 0 || anchor.length !== test.length) {
    throw new Error(`${anchor.length} photos against ${test.length}: measure both on the same photos`);
  }
  const gains = anchor.map(({ photo, right }, i) => {
    if (test[i]!.photo !== photo) {
      throw new Error(
        `photo ${i} is ${photo} in one and ${test[i]!.photo} in the other: use the same --seed`,
      );
    }
    return Number(test[i]!.right) - Number(right);
  });
  const random = mulberry32(seed);
  const means = Float64Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    for (let k = 0; k < gains.length; k++) sum += gains[Math.floor(random() * gains.length)]!;
    return (100 * sum) / gains.length;
  }).toSorted();
  return {
    mean: (100 * gains.reduce<number>((sum, gain) => sum + gain, 0)) / gains.length,
    low: means[Math.floor(0.025 * RESAMPLES)]!,
    high: means[Math.ceil(0.975 * RESAMPLES) - 1]!,
  };
}

/** Of the rows with as many blocks, in the same precision if there are any, the nearest rate. @throws Error: none */
export function partnerOf<Row extends ComparedRow>(row: ComparedRow, among: readonly Row[]): Row {
  const same = among.filter(({ n }) => n === row.n);
  if (same.length === 0) throw new Error(`the anchor has no row with n=${row.n}`);
  const alike = same.filter(({ precision }) => precision === row.precision);
  const far = (other: Row): number => Math.abs(Math.log(other.payloadBpp / row.payloadBpp));
  return (alike.length > 0 ? alike : same).reduce((best, other) => (far(other) < far(best) ? other : best));
}
