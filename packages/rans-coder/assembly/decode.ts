// The decoder of src/plain/decode.ts for int16 symbols. It only says whether all is well: the plain one names what is not.
import { count, cumulative, entries, escape, frequency, likelyCumulative, likelyFrequency, likelySymbol, lookup, offset, row, shift } from './layout';
import { LOWEST, MAX_LANES, MORE_LANES, digitCount, flagFrequency, setState, state } from './state';

/** First byte of the stream. */
let start: usize = 0;
/** One behind the last byte that is left, between runs and where a rare symbol changes it. */
let end: usize = 0;

/** A likeliest symbol of this frequency is looked at first: the processor guesses it, and need not wait for tables. */
const GUESS: u32 = 49152;

/** Runs of `length` symbols, run r coded with the uint16 at indexes[r], to the int16 at `out`. */
export function decodeRuns(image: usize, indexes: usize, runs: u32, length: u32, out: usize, first: usize, behind: usize): bool {
  const lanes = begin(first, behind);
  if (lanes == 0) return false;
  for (let r: u32 = 0; r < runs; r++, out += (<usize>length) << 1) {
    const table = load<u16>(indexes + ((<usize>r) << 1));
    if (table >= count(image)) return false;
    const at = row(image, table);
    const chance = flagFrequency(likelyFrequency(at), length);
    if (chance > 0) {
      const set = flag(chance);
      if (end < start) return false;
      if (set) {
        fill(out, length, likelySymbol(at));
        continue;
      }
    }
    if (lanes == 4) {
      if (!decode4(false, image, at, 0, length, out)) return false;
    } else if (lanes == 2) {
      if (!decode2(false, image, at, 0, length, out)) return false;
    } else if (likelyFrequency(at) >= GUESS) {
      if (!guess1(image, at, length, out)) return false;
    } else {
      if (!decode1(false, image, at, 0, length, out)) return false;
    }
    if (chance > 0 && uniform(out, length, likelySymbol(at))) return false;
  }
  return finished(lanes);
}

/** `length` symbols, symbol i coded with the uint16 at indexes[i]. */
export function decodeIndexed(image: usize, indexes: usize, length: u32, out: usize, first: usize, behind: usize): bool {
  const lanes = begin(first, behind);
  if (lanes == 0) return false;
  if (lanes == 4) {
    if (!decode4(true, image, 0, indexes, length, out)) return false;
  } else if (lanes == 2) {
    if (!decode2(true, image, 0, indexes, length, out)) return false;
  } else {
    if (!decode1(true, image, 0, indexes, length, out)) return false;
  }
  return finished(lanes);
}

/** Reads the states; returns the number of lanes, 0 if the stream cannot begin like this. */
function begin(first: usize, behind: usize): u32 {
  start = first;
  end = behind;
  for (let lane: u32 = 0; lane < MAX_LANES; lane++) {
    if (end - start < 4) return 0;
    end -= 4;
    const word = load<u32>(end);
    const x = word & ~MORE_LANES;
    if (x < LOWEST) return 0;
    setState(lane, x);
    if (!(word & MORE_LANES)) return lane == 2 ? 0 : lane + 1;
  }
  return 0;
}

function finished(lanes: u32): bool {
  for (let lane: u32 = 0; lane < lanes; lane++) if (state(lane) != LOWEST) return false;
  return end == start;
}

function flag(chance: u32): bool {
  const x = state(0);
  const slot = x & 0xffff;
  const set = slot < chance;
  setState(0, refill(set ? chance * (x >> 16) + slot : (65536 - chance) * (x >> 16) + slot - chance));
  return set;
}

// ---- One symbol: where its bucket is, the step ----

@inline
function bucketOf(x: u32, buckets: usize, shift: u32): usize {
  return buckets + ((<usize>((x & 0xffff) >> shift)) << 3);
}

@inline
function step(x: u32, bucket: usize, out: usize): u32 {
  store<u16>(out, load<u16>(bucket, 4));
  return load<u16>(bucket) * (x >> 16) + (x & 0xffff) - load<u16>(bucket, 2);
}

/** Takes the bytes that a state lacks off `end`. */
function refill(x: u32): u32 {
  for (; x < LOWEST; x = (x << 8) | load<u8>(end)) end--;
  return x;
}

/**
 * A slot whose bucket has several symbols, or an escape. Takes what it reads off `end`; for a stream that is wrong it
 * puts `end` before `start`, where every loop looks.
 */
function rare(x: u32, image: usize, at: usize, bucket: usize, out: usize, p: usize): u32 {
  const slot = x & 0xffff;
  end = p;
  let k: u32 = load<u16>(bucket, 2);
  let entry = entries(image, at) + ((<usize>k) << 4);
  for (; slot - cumulative(entry) >= frequency(entry); k++) entry += 16;
  x = refill(frequency(entry) * (x >> 16) + slot - cumulative(entry));
  let symbol = offset(at) + <i32>k;
  if (k == escape(at)) {
    const digits = x & 15;
    x = refill(x >> 4);
    let value: u32 = 0;
    for (let d: u32 = 0; d < digits && end >= start; d++) {
      value = (value << 4) | (x & 15);
      x = refill(x >> 4);
    }
    symbol = <i32>(value >> 1) ^ -<i32>(value & 1);
    const listed = <u32>(symbol - offset(at)) < escape(at);
    if (digits > 8 || digitCount(value) != digits || listed || symbol != <i32>(<i16>symbol)) end = start - 1;
  }
  store<u16>(out, symbol);
  return x;
}

// ---- Loops over 1, 2 and 4 lanes. `indexed` is known when they are compiled: a table for each symbol, or `at` for all ----

@inline
function decode1(indexed: bool, image: usize, at: usize, indexes: usize, length: u32, out: usize): bool {
  return rest(indexed, image, at, indexes, 0, length, out, 1);
}

/** Symbols j to length - 1, one at a time. */
@inline
function rest(indexed: bool, image: usize, at: usize, indexes: usize, j: u32, length: u32, out: usize, lanes: u32): bool {
  let p = end;
  let x: u32 = lanes == 1 ? state(0) : 0;
  for (; j < length; j++) {
    if (indexed) {
      const table = load<u16>(indexes + ((<usize>j) << 1));
      if (table >= count(image)) return false;
      at = row(image, table);
    }
    if (lanes != 1) x = state(j & (lanes - 1));
    const bucket = bucketOf(x, lookup(image, at), shift(at));
    const to = out + ((<usize>j) << 1);
    if (!load<u16>(bucket)) {
      x = rare(x, image, at, bucket, to, p);
      p = end;
    } else {
      x = step(x, bucket, to);
      for (; x < LOWEST; x = (x << 8) | load<u8>(p)) p--;
    }
    if (lanes != 1) setState(j & (lanes - 1), x);
    if (p < start) return false;
  }
  if (lanes == 1) setState(0, x);
  end = p;
  return true;
}

/** One lane, likeliest symbol first. */
function guess1(image: usize, at: usize, length: u32, out: usize): bool {
  const chance = likelyFrequency(at), below = likelyCumulative(at), symbol = likelySymbol(at);
  const buckets = lookup(image, at), by = shift(at);
  let p = end;
  let x = state(0);
  for (const last = out + ((<usize>length) << 1); out < last; out += 2) {
    const over = (x & 0xffff) - below;
    if (over < chance) {
      store<u16>(out, symbol);
      x = chance * (x >> 16) + over;
    } else {
      const bucket = bucketOf(x, buckets, by);
      if (!load<u16>(bucket)) {
        x = rare(x, image, at, bucket, out, p);
        p = end;
      } else x = step(x, bucket, out);
    }
    for (; x < LOWEST; x = (x << 8) | load<u8>(p)) p--;
    if (p < start) return false;
  }
  setState(0, x);
  end = p;
  return true;
}

/*
 * With lanes the byte that a state may lack is taken without a branch, as nobody can guess it. A second one is so seldom
 * that it can: only a symbol with a chance below 1/128 leaves room for two.
 */

@inline
function decode2(indexed: bool, image: usize, at: usize, indexes: usize, length: u32, out: usize): bool {
  let p = end;
  let x0 = state(0), x1 = state(1);
  let at0 = at, at1 = at;
  let buckets0: usize = 0, buckets1: usize = 0;
  let by0: u32 = 0, by1: u32 = 0;
  if (!indexed) {
    buckets0 = buckets1 = lookup(image, at);
    by0 = by1 = shift(at);
  }
  let j: u32 = 0;
  for (let to = out; j + 2 <= length; j += 2, to += 4) {
    if (indexed) {
      const tables = indexes + ((<usize>j) << 1);
      const t0 = load<u16>(tables), t1 = load<u16>(tables, 2);
      if (max(t0, t1) >= count(image)) return false;
      at0 = row(image, t0), at1 = row(image, t1);
      buckets0 = lookup(image, at0), buckets1 = lookup(image, at1);
      by0 = shift(at0), by1 = shift(at1);
    }
    let bucket = bucketOf(x0, buckets0, by0), more: bool, byte: u32;
    if (!load<u16>(bucket)) (x0 = rare(x0, image, at0, bucket, to, p)), (p = end);
    else {
      (x0 = step(x0, bucket, to)), (more = x0 < LOWEST), (byte = load<u8>(p - 1)), (x0 = select((x0 << 8) | byte, x0, more)), (p -= <usize>more);
      if (x0 < LOWEST) (x0 = (x0 << 8) | load<u8>(--p)); // only below a chance of 1/128
    }
    bucket = bucketOf(x1, buckets1, by1);
    if (!load<u16>(bucket)) (x1 = rare(x1, image, at1, bucket, to + 2, p)), (p = end);
    else {
      (x1 = step(x1, bucket, to + 2)), (more = x1 < LOWEST), (byte = load<u8>(p - 1)), (x1 = select((x1 << 8) | byte, x1, more)), (p -= <usize>more);
      if (x1 < LOWEST) (x1 = (x1 << 8) | load<u8>(--p)); // only below a chance of 1/128
    }
    if (p < start) return false;
  }
  setState(0, x0);
  setState(1, x1);
  end = p;
  return rest(indexed, image, at, indexes, j, length, out, 2);
}

@inline
function decode4(indexed: bool, image: usize, at: usize, indexes: usize, length: u32, out: usize): bool {
  let p = end;
  let x0 = state(0), x1 = state(1), x2 = state(2), x3 = state(3);
  let at0 = at, at1 = at, at2 = at, at3 = at;
  let buckets0: usize = 0, buckets1: usize = 0, buckets2: usize = 0, buckets3: usize = 0;
  let by0: u32 = 0, by1: u32 = 0, by2: u32 = 0, by3: u32 = 0;
  if (!indexed) {
    buckets0 = buckets1 = buckets2 = buckets3 = lookup(image, at);
    by0 = by1 = by2 = by3 = shift(at);
  }
  let j: u32 = 0;
  for (let to = out; j + 4 <= length; j += 4, to += 8) {
    if (indexed) {
      const tables = indexes + ((<usize>j) << 1);
      const t0 = load<u16>(tables), t1 = load<u16>(tables, 2), t2 = load<u16>(tables, 4), t3 = load<u16>(tables, 6);
      if (max(max(t0, t1), max(t2, t3)) >= count(image)) return false;
      at0 = row(image, t0), at1 = row(image, t1), at2 = row(image, t2), at3 = row(image, t3);
      buckets0 = lookup(image, at0), buckets1 = lookup(image, at1), buckets2 = lookup(image, at2), buckets3 = lookup(image, at3);
      by0 = shift(at0), by1 = shift(at1), by2 = shift(at2), by3 = shift(at3);
    }
    let bucket = bucketOf(x0, buckets0, by0), more: bool, byte: u32;
    if (!load<u16>(bucket)) (x0 = rare(x0, image, at0, bucket, to, p)), (p = end);
    else {
      (x0 = step(x0, bucket, to)), (more = x0 < LOWEST), (byte = load<u8>(p - 1)), (x0 = select((x0 << 8) | byte, x0, more)), (p -= <usize>more);
      if (x0 < LOWEST) (x0 = (x0 << 8) | load<u8>(--p)); // only below a chance of 1/128
    }
    bucket = bucketOf(x1, buckets1, by1);
    if (!load<u16>(bucket)) (x1 = rare(x1, image, at1, bucket, to + 2, p)), (p = end);
    else {
      (x1 = step(x1, bucket, to + 2)), (more = x1 < LOWEST), (byte = load<u8>(p - 1)), (x1 = select((x1 << 8) | byte, x1, more)), (p -= <usize>more);
      if (x1 < LOWEST) (x1 = (x1 << 8) | load<u8>(--p)); // only below a chance of 1/128
    }
    bucket = bucketOf(x2, buckets2, by2);
    if (!load<u16>(bucket)) (x2 = rare(x2, image, at2, bucket, to + 4, p)), (p = end);
    else {
      (x2 = step(x2, bucket, to + 4)), (more = x2 < LOWEST), (byte = load<u8>(p - 1)), (x2 = select((x2 << 8) | byte, x2, more)), (p -= <usize>more);
      if (x2 < LOWEST) (x2 = (x2 << 8) | load<u8>(--p)); // only below a chance of 1/128
    }
    bucket = bucketOf(x3, buckets3, by3);
    if (!load<u16>(bucket)) (x3 = rare(x3, image, at3, bucket, to + 6, p)), (p = end);
    else {
      (x3 = step(x3, bucket, to + 6)), (more = x3 < LOWEST), (byte = load<u8>(p - 1)), (x3 = select((x3 << 8) | byte, x3, more)), (p -= <usize>more);
      if (x3 < LOWEST) (x3 = (x3 << 8) | load<u8>(--p)); // only below a chance of 1/128
    }
    if (p < start) return false;
  }
  setState(0, x0);
  setState(1, x1);
  setState(2, x2);
  setState(3, x3);
  end = p;
  return rest(indexed, image, at, indexes, j, length, out, 4);
}

// ---- Runs of one symbol ----

function fill(out: usize, length: u32, symbol: i32): void {
  const eight = i16x8.splat(<i16>symbol);
  let j: u32 = 0;
  for (; j + 8 <= length; j += 8) v128.store(out + ((<usize>j) << 1), eight);
  for (; j < length; j++) store<u16>(out + ((<usize>j) << 1), symbol);
}

/** Whether all `length` int16 at `symbols` are `symbol`. */
export function uniform(symbols: usize, length: u32, symbol: i32): bool {
  const eight = i16x8.splat(<i16>symbol);
  let j: u32 = 0;
  for (; j + 8 <= length; j += 8) {
    if (!i16x8.all_true(i16x8.eq(v128.load(symbols + ((<usize>j) << 1)), eight))) return false;
  }
  for (; j < length; j++) if (load<i16>(symbols + ((<usize>j) << 1)) != <i16>symbol) return false;
  return true;
}
