// What src/state.ts, escape.ts and run-flag.ts say, once more for this side of the wall.

export const LOWEST: u32 = 1 << 23;
export const MORE_LANES: u32 = 1 << 31;
export const MAX_LANES: u32 = 4;

/** Where the lanes' states wait between runs: 4 words. */
export const STATES: usize = 16;

@inline
export function state(lane: u32): u32 {
  return load<u32>(STATES + ((<usize>lane) << 2));
}

@inline
export function setState(lane: u32, x: u32): void {
  store<u32>(STATES + ((<usize>lane) << 2), x);
}

export function flagFrequency(frequency: u32, length: u32): u32 {
  let chance: u32 = 65536;
  let power = frequency;
  for (let n = length; n > 0; n >>= 1) {
    if (n & 1) chance = (chance * power) >> 16;
    power = (power * power) >> 16;
  }
  return length > 1 && chance >= 1024 ? chance : 0;
}

@inline
export function zigzag(symbol: i32): u32 {
  return <u32>((symbol << 1) ^ (symbol >> 31));
}

@inline
export function digitCount(value: u32): u32 {
  return (35 - clz(value)) >> 2;
}
