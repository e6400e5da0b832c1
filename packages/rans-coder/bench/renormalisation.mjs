// What the coder could have taken off its states, and from which lower bound on: the bytes that each costs, exactly.
import { PLANE, SYMBOLS, cases } from './cases.mjs';

const PROBABILITY_BITS = 16n;

/** A state is at least 2^bound; what is taken off it has `unit` bits. */
const CANDIDATES = [
  { name: '2^16, 16-bit words', bound: 16, unit: 16 },
  { name: '2^23, bytes (ours)', bound: 23, unit: 8 },
  { name: '2^24, 16-bit words', bound: 24, unit: 16 },
  { name: '2^31, 32-bit words', bound: 31, unit: 32 },
];

/** Prints the percentage over the information of one photo of each case, one lane, and the bytes of a flush. */
export function benchRenormalisation() {
  const rows = {};
  for (const candidate of CANDIDATES) {
    rows[candidate.name] = {};
    for (const { name, distributions, tables, photos } of cases()) {
      const [symbols] = photos;
      const ideal = symbols.reduce((sum, s, i) => sum + tables.bits(Math.floor(i / PLANE), s), 0);
      rows[candidate.name][`${name} %`] = (
        100 *
        (codedBits(candidate, symbols, distributions) / ideal - 1)
      ).toFixed(4);
    }
    rows[candidate.name]['flush, bytes a lane'] = Math.ceil((candidate.bound + candidate.unit) / 8);
  }
  console.log(`\nrenormalisation: bits over the information without the flush, ${SYMBOLS} symbols, one lane`);
  console.table(rows);
}

/** Bits that one lane has put out, and those in its last state beyond its first. */
function codedBits({ bound, unit }, symbols, distributions) {
  const cumulative = distributions.map(({ frequencies }) => {
    let sum = 0;
    return Array.from(frequencies, (frequency) => (sum += frequency) - frequency);
  });
  const room = BigInt(bound + unit) - PROBABILITY_BITS;
  const low = 1n << BigInt(bound);
  let x = low;
  let out = 0;
  for (let i = symbols.length - 1; i >= 0; i--) {
    const channel = Math.floor(i / PLANE);
    const k = symbols[i] - distributions[channel].offset;
    const f = BigInt(distributions[channel].frequencies[k]);
    for (; x >= f << room; x >>= BigInt(unit)) out += unit;
    x = ((x / f) << PROBABILITY_BITS) + BigInt(cumulative[channel][k]) + (x % f);
  }
  return out + Math.log2(Number(x)) - bound;
}
