// The layout of src/tables.ts, in bytes. Addresses in it are words from its start.

export const HEAD: usize = 16;

@inline
export function count(image: usize): u32 {
  return load<u32>(image);
}

@inline
export function row(image: usize, table: u32): usize {
  return image + HEAD + ((<usize>table) << 5);
}

@inline
export function lookup(image: usize, row: usize): usize {
  return image + (load<u32>(row) << 2);
}

@inline
export function shift(row: usize): u32 {
  return load<u32>(row, 4);
}

@inline
export function entries(image: usize, row: usize): usize {
  return image + (load<u32>(row, 8) << 2);
}

@inline
export function offset(row: usize): i32 {
  return load<i32>(row, 12);
}

@inline
export function escape(row: usize): u32 {
  return load<u32>(row, 16);
}

@inline
export function likelyFrequency(row: usize): u32 {
  return load<u16>(row, 20);
}

@inline
export function likelyCumulative(row: usize): u32 {
  return load<u16>(row, 22);
}

@inline
export function likelySymbol(row: usize): i32 {
  return load<i32>(row, 24);
}

@inline
export function likelyCost(row: usize): u32 {
  return load<u16>(row, 28);
}

@inline
export function othersCost(row: usize): u32 {
  return load<u16>(row, 30);
}

// An entry: 16 bytes.

@inline
export function reciprocal(entry: usize): u64 {
  return load<u32>(entry);
}

@inline
export function limit(entry: usize): u32 {
  return load<u32>(entry, 4);
}

@inline
export function reciprocalShift(entry: usize): u64 {
  return load<u16>(entry, 8);
}

@inline
export function cumulative(entry: usize): u32 {
  return load<u16>(entry, 10);
}

@inline
export function complement(entry: usize): u32 {
  return load<u16>(entry, 12);
}

@inline
export function frequency(entry: usize): u32 {
  return load<u16>(entry, 14);
}
