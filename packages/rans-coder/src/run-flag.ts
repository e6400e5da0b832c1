/** A flag is coded if it has at least this chance of 65536 to be set; with less it would never pay. */
const WORTHWHILE = 1024;

/**
 * The chance, of 65536, that all `length` symbols of a run are the table's likeliest, whose frequency is `frequency`:
 * 65536 * (frequency / 65536)^length, in integers, so that every machine has the same. 0 where no flag is coded.
 *
 * With this chance a set flag costs what the symbols would have cost together, and one that is not set as little as
 * it tells; most channels of a learned latent are such runs (docs/rans.md, "Runs").
 */
export function flagFrequency(frequency: number, length: number): number {
  let chance = 65536;
  let power = frequency; // frequency^(1, 2, 4 ...)
  for (let n = length; n > 0; n >>>= 1) {
    if ((n & 1) !== 0) chance = (chance * power) >>> 16;
    power = (power * power) >>> 16;
  }
  return length > 1 && chance >= WORTHWHILE ? chance : 0;
}
