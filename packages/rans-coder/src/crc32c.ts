// CRC-32C (Castagnoli, RFC 3720 B.4): reflected polynomial 0x82f63b78. Four bytes at a time: table k is what a byte with k
// zero bytes behind it comes to (Kounavis and Berry, "slicing").
const TABLES: Uint32Array = /* @__PURE__ */ makeTables();

function makeTables(): Uint32Array {
  const tables = new Uint32Array(4 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const before = tables[i - 256]!;
    tables[i] = (before >>> 8) ^ tables[before & 0xff]!;
  }
  return tables;
}

/** CRC-32C of `bytes`, going on from `crc`: `crc32c(b, crc32c(a))` is the checksum of a followed by b. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  let rest = ~crc;
  let i = 0;
  for (; i + 4 <= bytes.length; i += 4) {
    rest ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    rest =
      TABLES[768 + (rest & 0xff)]! ^
      TABLES[512 + ((rest >>> 8) & 0xff)]! ^
      TABLES[256 + ((rest >>> 16) & 0xff)]! ^
      TABLES[rest >>> 24]!;
  }
  for (; i < bytes.length; i++) rest = (rest >>> 8) ^ TABLES[(rest ^ bytes[i]!) & 0xff]!;
  return ~rest >>> 0;
}
