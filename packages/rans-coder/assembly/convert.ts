// int32 symbols to int16 and back, eight at a time.

/** Returns false, with `to` unfinished, if a symbol is beyond int16. */
export function narrow(from: usize, to: usize, length: u32): bool {
  let j: u32 = 0;
  for (; j + 8 <= length; j += 8) {
    const low = v128.load(from + ((<usize>j) << 2)),
      high = v128.load(from + ((<usize>j) << 2), 16);
    const both = i16x8.narrow_i32x4_s(low, high);
    const same = v128.and(
      i32x4.eq(i32x4.extend_low_i16x8_s(both), low),
      i32x4.eq(i32x4.extend_high_i16x8_s(both), high),
    );
    if (!i32x4.all_true(same)) return false;
    v128.store(to + ((<usize>j) << 1), both);
  }
  for (; j < length; j++) {
    const symbol = load<i32>(from + ((<usize>j) << 2));
    if (symbol != <i32>(<i16>symbol)) return false;
    store<i16>(to + ((<usize>j) << 1), <i16>symbol);
  }
  return true;
}

export function widen(from: usize, to: usize, length: u32): void {
  let j: u32 = 0;
  for (; j + 8 <= length; j += 8) {
    const both = v128.load(from + ((<usize>j) << 1));
    v128.store(to + ((<usize>j) << 2), i32x4.extend_low_i16x8_s(both));
    v128.store(to + ((<usize>j) << 2), i32x4.extend_high_i16x8_s(both), 16);
  }
  for (; j < length; j++) store<i32>(to + ((<usize>j) << 2), load<i16>(from + ((<usize>j) << 1)));
}
