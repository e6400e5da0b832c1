// The encoder of src/plain/encode.ts for int16 symbols. Run by run: count, plan which entry codes which symbol, code.
import {
  complement,
  count,
  cumulative,
  entries,
  escape,
  frequency,
  likelyCost,
  likelyFrequency,
  likelySymbol,
  limit,
  offset,
  othersCost,
  reciprocal,
  reciprocalShift,
  row,
} from './layout';
import { LOWEST, MORE_LANES, digitCount, flagFrequency, setState, state, zigzag } from './state';

const TWO_LANES: u64 = 1024 << 13;
const FOUR_LANES: u64 = 2048 << 13;

/** Set in an entry's address where the symbol escapes. */
const ESCAPED: u32 = 1;

/** One behind the last byte that was pushed, between loops and where a rare symbol changes it. */
let end: usize = 0;

/**
 * Codes the int16 at `symbols`, runs of `length`, run r with the uint16 at indexes[r]. There is room for a uint32 a run at
 * `likely`, and for one a symbol of a run at `plan`. `lanes` 0 chooses. Returns the address behind the last byte, or 0 for
 * an index beyond the pool.
 */
export function encodeRuns(
  image: usize,
  indexes: usize,
  runs: u32,
  length: u32,
  symbols: usize,
  likely: usize,
  plan: usize,
  lanes: u32,
  out: usize,
): usize {
  const stride = (<usize>length) << 1;
  let cost: u64 = 0;
  for (let r: u32 = 0; r < runs; r++) {
    const table = load<u16>(indexes + ((<usize>r) << 1));
    if (table >= count(image)) return 0;
    const at = row(image, table);
    const found = countOf(symbols + stride * r, length, likelySymbol(at));
    store<u32>(likely + ((<usize>r) << 2), found);
    cost += <u64>found * likelyCost(at) + <u64>(length - found) * othersCost(at);
  }
  if (lanes == 0) lanes = lanesFor(cost);
  begin(lanes, out);
  for (let r = runs; r-- > 0; ) {
    const at = row(image, load<u16>(indexes + ((<usize>r) << 1)));
    const chance = flagFrequency(likelyFrequency(at), length);
    const set = chance > 0 && load<u32>(likely + ((<usize>r) << 2)) == length;
    if (!set) {
      const run = symbols + stride * r;
      planRun(image, at, run, length, plan);
      code(lanes, run, plan, length);
    }
    if (chance > 0) setState(0, set ? slowly(state(0), 0, chance) : slowly(state(0), chance, 65536 - chance));
  }
  return finish(lanes);
}

/** The same for a table for each symbol. */
export function encodeIndexed(
  image: usize,
  indexes: usize,
  length: u32,
  symbols: usize,
  plan: usize,
  lanes: u32,
  out: usize,
): usize {
  let cost: u64 = 0;
  for (let i: usize = 0; i < <usize>length; i++) {
    const table = load<u16>(indexes + (i << 1));
    if (table >= count(image)) return 0;
    const at = row(image, table);
    const symbol = <i32>load<i16>(symbols + (i << 1));
    cost += symbol == likelySymbol(at) ? likelyCost(at) : othersCost(at);
    const k = <u32>(symbol - offset(at));
    const list = <u32>entries(image, at);
    store<u32>(plan + (i << 2), k < escape(at) ? list + (k << 4) : (list + (escape(at) << 4)) | ESCAPED);
  }
  if (lanes == 0) lanes = lanesFor(cost);
  begin(lanes, out);
  code(lanes, symbols, plan, length);
  return finish(lanes);
}

/** How many of `length` int16 are `symbol`. */
function countOf(symbols: usize, length: u32, symbol: i32): u32 {
  const eight = i16x8.splat(<i16>symbol);
  let found: u32 = 0;
  let j: u32 = 0;
  for (; j + 8 <= length; j += 8) {
    found += popcnt(i16x8.bitmask(i16x8.eq(v128.load(symbols + ((<usize>j) << 1)), eight)));
  }
  for (; j < length; j++) if (load<i16>(symbols + ((<usize>j) << 1)) == symbol) found++;
  return found;
}

/** Writes the address of each symbol's entry. */
function planRun(image: usize, at: usize, symbols: usize, length: u32, plan: usize): void {
  const list = <u32>entries(image, at);
  const none = (list + (escape(at) << 4)) | ESCAPED;
  const lists = i32x4.splat(list), nones = i32x4.splat(none);
  const lows = i32x4.splat(offset(at)), sizes = i32x4.splat(escape(at));
  let j: u32 = 0;
  for (; j + 4 <= length; j += 4) {
    const k = i32x4.sub(v128.load_ext<i16>(symbols + ((<usize>j) << 1)), lows);
    const planned = v128.bitselect(i32x4.add(i32x4.shl(k, 4), lists), nones, i32x4.lt_u(k, sizes));
    v128.store(plan + ((<usize>j) << 2), planned);
  }
  for (; j < length; j++) {
    const k = <u32>(<i32>load<i16>(symbols + ((<usize>j) << 1)) - offset(at));
    store<u32>(plan + ((<usize>j) << 2), k < escape(at) ? list + (k << 4) : none);
  }
}

@inline
function lanesFor(cost: u64): u32 {
  return cost >= FOUR_LANES ? 4 : cost >= TWO_LANES ? 2 : 1;
}

function begin(lanes: u32, out: usize): void {
  for (let lane: u32 = 0; lane < lanes; lane++) setState(lane, LOWEST);
  end = out;
}

function finish(lanes: u32): usize {
  for (let lane = lanes; lane-- > 0; end += 4) {
    store<u32>(end, state(lane) | (lane < lanes - 1 ? MORE_LANES : 0));
  }
  return end;
}

// ---- One symbol ----

/** The step, for a state below the entry's limit. */
@inline
function step(x: u32, entry: usize): u32 {
  const quotient = <u32>((<u64>x * reciprocal(entry)) >> reciprocalShift(entry));
  return x + quotient * complement(entry) + cumulative(entry);
}

/** The step with a division: for flags, and for what is left of an escape. Pushes onto `end`. */
function slowly(x: u32, cumulative: u32, frequency: u32): u32 {
  for (; x >= frequency << 15; x >>= 8) store<u8>(end++, x);
  return ((x / frequency) << 16) + cumulative + (x % frequency);
}

/** A symbol that its table does not have: digits, their count, the escape. */
function escaped(x: u32, symbol: i32, entry: usize, p: usize): u32 {
  end = p;
  const value = zigzag(symbol);
  const digits = digitCount(value);
  for (let d: u32 = 0; d <= digits; d++) {
    for (; x >= 1 << 27; x >>= 8) store<u8>(end++, x);
    x = (x << 4) | (d == digits ? digits : (value >> (d << 2)) & 15);
  }
  return slowly(x, cumulative(entry), frequency(entry));
}

// ---- Loops over 1, 2 and 4 lanes, from the last symbol to the first ----

function code(lanes: u32, symbols: usize, plan: usize, length: u32): void {
  if (lanes == 4) code4(symbols, plan, length);
  else if (lanes == 2) code2(symbols, plan, length);
  else code1(symbols, plan, length);
}

function code1(symbols: usize, plan: usize, length: u32): void {
  let p = end;
  let x = state(0);
  for (let j = <usize>length; j-- > 0; ) {
    const entry = load<u32>(plan + (j << 2));
    if (entry & ESCAPED) {
      x = escaped(x, load<i16>(symbols + (j << 1)), entry ^ ESCAPED, p);
      p = end;
      continue;
    }
    // A loop, not a choice: with one lane the next step waits for this one, unless the processor guesses.
    for (const most = limit(entry); x >= most; x >>= 8) store<u8>(p++, x);
    x = step(x, entry);
  }
  setState(0, x);
  end = p;
}

/** The symbols from `first` on, fewer than there are lanes. */
function rest(symbols: usize, plan: usize, first: u32, length: u32): void {
  for (let j = length; j-- > first; ) {
    const entry = load<u32>(plan + ((<usize>j) << 2));
    const x = state(j - first);
    setState(
      j - first,
      entry & ESCAPED
        ? escaped(x, load<i16>(symbols + ((<usize>j) << 1)), entry ^ ESCAPED, end)
        : slowly(x, cumulative(entry), frequency(entry)),
    );
  }
}

/** Pushes a byte if there must be one: without a branch, as nobody can guess it. */
@inline
function pushed(x: u32, entry: usize, p: usize): bool {
  store<u8>(p, x);
  return x >= limit(entry);
}

function code2(symbols: usize, plan: usize, length: u32): void {
  const even = length & ~1;
  rest(symbols, plan, even, length);
  let p = end;
  let x0 = state(0), x1 = state(1);
  for (let j = <usize>even; j > 0; ) {
    j -= 2;
    let entry = load<u32>(plan + (j << 2), 4), more: bool;
    if (entry & ESCAPED) (x1 = escaped(x1, load<i16>(symbols + (j << 1), 2), entry ^ ESCAPED, p)), (p = end);
    else {
      (more = pushed(x1, entry, p)), (p += <usize>more), (x1 = more ? x1 >> 8 : x1);
      if (x1 >= limit(entry)) store<u8>(p++, x1), (x1 >>= 8); // only below a chance of 1/256
      x1 = step(x1, entry);
    }
    entry = load<u32>(plan + (j << 2));
    if (entry & ESCAPED) (x0 = escaped(x0, load<i16>(symbols + (j << 1)), entry ^ ESCAPED, p)), (p = end);
    else {
      (more = pushed(x0, entry, p)), (p += <usize>more), (x0 = more ? x0 >> 8 : x0);
      if (x0 >= limit(entry)) store<u8>(p++, x0), (x0 >>= 8);
      x0 = step(x0, entry);
    }
  }
  setState(0, x0);
  setState(1, x1);
  end = p;
}

function code4(symbols: usize, plan: usize, length: u32): void {
  const whole = length & ~3;
  rest(symbols, plan, whole, length);
  let p = end;
  let x0 = state(0), x1 = state(1), x2 = state(2), x3 = state(3);
  for (let j = <usize>whole; j > 0; ) {
    j -= 4;
    let entry = load<u32>(plan + (j << 2), 12), more: bool;
    if (entry & ESCAPED) (x3 = escaped(x3, load<i16>(symbols + (j << 1), 6), entry ^ ESCAPED, p)), (p = end);
    else {
      (more = pushed(x3, entry, p)), (p += <usize>more), (x3 = more ? x3 >> 8 : x3);
      if (x3 >= limit(entry)) store<u8>(p++, x3), (x3 >>= 8);
      x3 = step(x3, entry);
    }
    entry = load<u32>(plan + (j << 2), 8);
    if (entry & ESCAPED) (x2 = escaped(x2, load<i16>(symbols + (j << 1), 4), entry ^ ESCAPED, p)), (p = end);
    else {
      (more = pushed(x2, entry, p)), (p += <usize>more), (x2 = more ? x2 >> 8 : x2);
      if (x2 >= limit(entry)) store<u8>(p++, x2), (x2 >>= 8);
      x2 = step(x2, entry);
    }
    entry = load<u32>(plan + (j << 2), 4);
    if (entry & ESCAPED) (x1 = escaped(x1, load<i16>(symbols + (j << 1), 2), entry ^ ESCAPED, p)), (p = end);
    else {
      (more = pushed(x1, entry, p)), (p += <usize>more), (x1 = more ? x1 >> 8 : x1);
      if (x1 >= limit(entry)) store<u8>(p++, x1), (x1 >>= 8);
      x1 = step(x1, entry);
    }
    entry = load<u32>(plan + (j << 2));
    if (entry & ESCAPED) (x0 = escaped(x0, load<i16>(symbols + (j << 1)), entry ^ ESCAPED, p)), (p = end);
    else {
      (more = pushed(x0, entry, p)), (p += <usize>more), (x0 = more ? x0 >> 8 : x0);
      if (x0 >= limit(entry)) store<u8>(p++, x0), (x0 >>= 8);
      x0 = step(x0, entry);
    }
  }
  setState(0, x0);
  setState(1, x1);
  setState(2, x2);
  setState(3, x3);
  end = p;
}
