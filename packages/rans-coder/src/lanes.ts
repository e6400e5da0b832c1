import { STATE_BYTES } from './state.ts';
import type { Lanes } from './state.ts';
import { COST_BITS } from './tables.ts';
import type { Row } from './tables.ts';

/** A lane costs 4 bytes: two from 1 kB and four from 2 kB are 0.8 % of what is expected. In bits of 2^-COST_BITS. */
const TWO_LANES: number = 1024 * (8 << COST_BITS);
const FOUR_LANES: number = 2048 * (8 << COST_BITS);

/**
 * About what a run of `length` symbols costs if `likely` of them are the likeliest, in bits of 2^-COST_BITS. Counted in
 * integers, so that every machine comes to the same.
 */
export function runCost({ costs }: Row, likely: number, length: number): number {
  return likely * (costs & 0xffff) + (length - likely) * (costs >>> 16);
}

/** How many lanes pay for symbols of this cost. */
export function lanesFor(cost: number): Lanes {
  return cost >= FOUR_LANES ? 4 : cost >= TWO_LANES ? 2 : 1;
}

/** Below this the states of four lanes are more than 1 % of the stream: symbols were likelier than expected. */
export const LEAST_FOR_FOUR: number = 100 * 4 * STATE_BYTES;

/** Lanes of a stream that `encode` made. */
export function lanesOf(bytes: Uint8Array): number {
  let lanes = 1;
  for (let top = bytes.length - 1; (bytes[top]! & 0x80) !== 0; top -= STATE_BYTES) lanes++;
  return lanes;
}
