import { RansTables, fromCounts } from '@raccoon/rans-coder';
import { Random } from './random.mjs';

/** Pools that come again and again; any other number is a pool that is made for one case. */
const KEPT = 256;
const kept = new Map();

/** A pool of 1 to 6 tables, which follows from its number: the coder's tables, and the same as lists. */
export function poolOf(number) {
  const known = kept.get(number);
  if (known) return known;
  const random = new Random(number);
  const distributions = Array.from({ length: 1 + random.below(6) }, () => distribution(random, number));
  const pool = {
    tables: RansTables.fromFrequencies(distributions),
    lists: distributions.map(({ offset, frequencies }) => list(offset, Array.from(frequencies))),
  };
  if (number < KEPT) kept.set(number, pool);
  return pool;
}

/** The number of a pool for a case. */
export function poolNumber(random) {
  return random.once(300) ? KEPT + random.below(2 ** 20) : random.below(KEPT);
}

function distribution(random, number) {
  const offset = random.once(8) ? random.below(60_000) - 32768 : random.below(40) - 20;
  if (number % 64 === 63) return { offset: -32768, frequencies: new Uint16Array(65536).fill(1) };
  switch (random.below(4)) {
    case 0: {
      const f = random.pick([1, 2, 65534, 65535, 1 + random.below(65535)]);
      return { offset, frequencies: [f, 65536 - f] };
    }
    case 1:
      return fromCounts(
        offset,
        Array.from({ length: 1 + random.below(40) }, () => random.below(1000)),
        1,
      );
    default: {
      // a latent's: zero in the middle takes most
      const width = 1 + random.below(20);
      const ratio = (1 + random.below(900)) / 1000;
      const counts = Array.from({ length: 2 * width + 1 }, (_, k) => 1e6 * ratio ** Math.abs(k - width));
      return fromCounts(-width, counts, random.once(4) ? 1e5 : 0);
    }
  }
}

function list(offset, frequencies) {
  const cumulative = [0];
  for (const frequency of frequencies) cumulative.push(cumulative.at(-1) + frequency);
  const escape = frequencies.length - 1;
  let likely = 0;
  for (let k = 1; k < escape; k++) if (frequencies[k] > frequencies[likely]) likely = k;
  return { offset, frequencies, cumulative, escape, likely, likelySymbol: offset + likely };
}

/** How many symbols: mostly few, seldom many. */
export function size(random) {
  if (random.once(2000)) return random.below(8000);
  return random.once(12) ? random.below(200) : random.below(24);
}

/** A symbol for a table: its likeliest, one of its own, one beside it, any int32. */
export function symbolFor({ offset, escape, likelySymbol }, random) {
  const kind = random.below(20);
  if (kind < 9) return likelySymbol;
  if (kind < 17) return offset + random.below(escape);
  if (kind < 18) return random.once(2) ? offset - 1 - random.below(3) : offset + escape + random.below(3);
  return random.int32();
}
