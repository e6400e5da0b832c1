import { crc32c } from './crc32c.ts';
import { TOTAL } from './distribution.ts';
import type { Distribution } from './distribution.ts';
import { RansError } from './errors.ts';
import { unzigzag, zigzag } from './escape.ts';
import { RansTables } from './tables.ts';

const MAGIC = [0x52, 0x4e, 0x54, 0x42]; // "RNTB"
const VERSION = 1;
const HEADER_BYTES = 5;
const CHECKSUM_BYTES = 4;

/**
 * A pool as bytes: `RNTB`, the version, the number of tables, then each one's offset, number of entries and all
 * frequencies but the last, which is what is missing to 65536; numbers are LEB128, the offset zigzag before that; a
 * CRC-32C of all of it ends them. `parseTables` gives the same pool back, and accepts nothing else.
 */
export function serialiseTables(tables: RansTables): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [...MAGIC, VERSION];
  const put = (value: number): void => {
    for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
    bytes.push(value);
  };
  put(tables.count);
  for (let table = 0; table < tables.count; table++) {
    const { offset, frequencies } = tables.distribution(table);
    put(zigzag(offset));
    put(frequencies.length);
    for (const frequency of frequencies.subarray(0, -1)) put(frequency);
  }
  const checksum = crc32c(Uint8Array.from(bytes));
  for (let bits = 0; bits < 32; bits += 8) bytes.push((checksum >>> bits) & 0xff);
  return Uint8Array.from(bytes);
}

/**
 * Reads what `serialiseTables` wrote. Throws `RansError` 'tables-format', 'tables-checksum' or 'invalid-table'. A table of
 * 3 bytes takes 576 in memory, and a pool at most 64 MiB: limit the bytes that you accept.
 */
export function parseTables(bytes: Uint8Array): RansTables {
  if (bytes.length < HEADER_BYTES + CHECKSUM_BYTES || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw new RansError('tables-format', 'not serialised tables: they do not start with RNTB');
  }
  if (bytes[4] !== VERSION) {
    throw new RansError(
      'tables-format',
      `tables of version ${bytes[4]}; this reader knows version ${VERSION}: update it`,
    );
  }
  const body = bytes.subarray(0, bytes.length - CHECKSUM_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (crc32c(body) !== view.getUint32(body.length, true)) {
    throw new RansError('tables-checksum', 'the tables are damaged: their checksum does not match');
  }
  const reader = new Reader(body);
  const count = reader.number(TOTAL, 'tables');
  const distributions: Distribution[] = [];
  for (let table = 0; table < count; table++) {
    const offset = unzigzag(reader.number(0xffff, 'as an offset'));
    const size = reader.number(TOTAL, 'entries');
    if (size > reader.left + 1)
      throw malformed(`table ${table} has ${size} entries, more than there are bytes`);
    const frequencies: number[] = [];
    let rest = TOTAL;
    for (let k = 0; k + 1 < size; k++) {
      const frequency = reader.number(TOTAL, 'as a frequency');
      frequencies.push(frequency);
      rest -= frequency;
    }
    frequencies.push(rest);
    distributions.push({ offset, frequencies });
  }
  if (reader.left > 0) throw malformed(`${reader.left} bytes are left after the last table`);
  return RansTables.fromFrequencies(distributions);
}

class Reader {
  private readonly bytes: Uint8Array;
  private at = HEADER_BYTES;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  /** A LEB128 number of 0 to `most`, in its shortest form. */
  number(most: number, what: string): number {
    let value = 0;
    for (let bits = 0; bits <= 14; bits += 7) {
      if (this.left < 1) throw malformed('they end within a number');
      const byte = this.bytes[this.at++]!;
      value |= (byte & 0x7f) << bits;
      if (byte > 0x7f) continue;
      if (byte === 0 && bits > 0) throw malformed('a number has a longer form than it needs');
      if (value > most) throw malformed(`${value} ${what}; there can be ${most}`);
      return value;
    }
    throw malformed('a number of more than three bytes');
  }
}

function malformed(what: string): RansError {
  return new RansError('tables-format', `the tables are malformed: ${what}`);
}
