/*
 * An encoder that lies: docs/rans.md's steps, but here and there one that no encoder takes. What it makes gets past the
 * states, into the rules for escapes and flags, where damaged bytes seldom come.
 */

/** A stream of the symbols. `message`: symbols, list (which table), length (of a run, or null). */
export function forged({ symbols, list, length }, lists, lanes, random) {
  const steps = [];
  if (length === null) {
    for (const [i, symbol] of symbols.entries()) {
      pushSymbol(steps, i & (lanes - 1), symbol, lists[list[i]], random);
    }
  } else {
    for (const [r, t] of list.entries())
      pushRun(steps, symbols.subarray(r * length, (r + 1) * length), lists[t], lanes, random);
  }
  return stream(steps, lanes);
}

function pushRun(steps, symbols, table, lanes, random) {
  const chance = flagChance(table.frequencies[table.likely], symbols.length);
  const all = symbols.every((symbol) => symbol === table.likelySymbol);
  const set = all && !random.once(4);
  if (chance > 0) {
    steps.push(
      set
        ? { lane: 0, cumulative: 0, frequency: chance, bits: 16 }
        : { lane: 0, cumulative: chance, frequency: 65536 - chance, bits: 16 },
    );
  }
  if (chance > 0 && set) return;
  for (const [j, symbol] of symbols.entries()) pushSymbol(steps, j & (lanes - 1), symbol, table, random);
}

function pushSymbol(steps, lane, symbol, { offset, escape, frequencies, cumulative }, random) {
  const lie = random.once(12);
  const listed = symbol >= offset && symbol < offset + escape;
  const k = listed && !lie ? symbol - offset : escape;
  steps.push({ lane, cumulative: cumulative[k], frequency: frequencies[k], bits: 16 });
  if (k < escape) return;
  const value = ((symbol << 1) ^ (symbol >> 31)) >>> 0;
  const digits = value === 0 ? [] : Array.from(value.toString(16), (d) => Number.parseInt(d, 16));
  if (lie && random.once(2)) digits.unshift(0);
  if (lie && random.once(3)) digits.push(...Array.from({ length: random.below(7) }, () => random.below(16)));
  for (const d of [digits.length, ...digits]) steps.push({ lane, cumulative: d, frequency: 1, bits: 4 });
}

function flagChance(frequency, length) {
  let chance = 65536;
  let power = frequency;
  for (let n = length; n > 0; n = Math.floor(n / 2)) {
    if (n % 2 === 1) chance = Math.floor((chance * power) / 65536);
    power = Math.floor((power * power) / 65536);
  }
  return length > 1 && chance >= 1024 ? Math.min(chance, 65535) : 0;
}

function stream(steps, lanes) {
  const states = Array.from({ length: lanes }, () => 2 ** 23);
  const bytes = [];
  for (const { lane, cumulative, frequency, bits } of steps.toReversed()) {
    let x = states[lane];
    for (; x >= frequency * 2 ** (31 - bits); x = Math.floor(x / 256)) bytes.push(x % 256);
    states[lane] = Math.floor(x / frequency) * 2 ** bits + cumulative + (x % frequency);
  }
  for (let lane = lanes - 1; lane >= 0; lane--) {
    const word = states[lane] + (lane < lanes - 1 ? 2 ** 31 : 0);
    for (let place = 1; place < 2 ** 32; place *= 256) bytes.push(Math.floor(word / place) % 256);
  }
  return Uint8Array.from(bytes);
}
