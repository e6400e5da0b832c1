import { RansError, RansTables } from '@raccoon/rans-coder';
import type { Distribution } from '@raccoon/rans-coder';
import { CodecError } from './errors.ts';
import { MAX_SIDE, MAX_TABLES_BYTES } from './limits.ts';

/** `tables.bin`, parsed: everything that both ends must agree on. P points, C channels, rows are points. */
export interface CodecTables {
  readonly points: number;
  readonly channels: number;
  /** (P, C) steps per unit of latent, above 0. */
  readonly gain: Float32Array;
  /** (P, C) the latent that symbol 0 stands for. */
  readonly median: Float32Array;
  /** (P, C) the distribution in `tables` that codes the channel's symbols. */
  readonly tableOf: Uint16Array;
  readonly tables: RansTables;
}

const MAGIC = 0x42415452; // "RTAB", little-endian
const VERSION = 0;
const HEADER_BYTES = 12;

/** Reads `tables.bin` version 0 (docs/bitstream.md, "Tables"). Throws `CodecError` 'tables-...'. */
export function parseTables(bytes: Uint8Array): CodecTables {
  if (bytes.length > MAX_TABLES_BYTES) throw tooLarge(bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || view.getUint32(0, true) !== MAGIC) {
    throw new CodecError('tables-magic', 'not a tables.bin: it does not start with RTAB');
  }
  if (bytes.length < HEADER_BYTES) throw wrongLength(bytes, HEADER_BYTES);
  const version = view.getUint8(4);
  if (version !== VERSION) {
    throw new CodecError(
      'tables-version',
      `tables.bin has version ${version}; this reader knows version ${VERSION}`,
    );
  }
  const points = view.getUint8(5);
  const channels = view.getUint16(6, true);
  const count = view.getUint16(8, true);
  if (points < 1 || channels < 1 || channels > MAX_SIDE || count < 1 || view.getUint16(10, true) !== 0) {
    throw new CodecError(
      'tables-header',
      `tables.bin says ${points} points, ${channels} channels, ${count} tables`,
    );
  }

  const cells = points * channels;
  const beforeFrequencies = HEADER_BYTES + 10 * cells + 4 * count;
  if (bytes.length < beforeFrequencies) throw wrongLength(bytes, beforeFrequencies);
  let at = HEADER_BYTES;
  const gain = Float32Array.from({ length: cells }, (_, i) => view.getFloat32(at + 4 * i, true));
  at += 4 * cells;
  const median = Float32Array.from({ length: cells }, (_, i) => view.getFloat32(at + 4 * i, true));
  at += 4 * cells;
  const tableOf = Uint16Array.from({ length: cells }, (_, i) => view.getUint16(at + 2 * i, true));
  at += 2 * cells;
  const offsets = Int16Array.from({ length: count }, (_, i) => view.getInt16(at + 2 * i, true));
  at += 2 * count;
  const sizes = Uint16Array.from({ length: count }, (_, i) => view.getUint16(at + 2 * i, true));
  at += 2 * count;
  const length = at + 2 * sizes.reduce((sum, size) => sum + size, 0);
  if (bytes.length !== length) throw wrongLength(bytes, length);

  const distributions: Distribution[] = [];
  for (const [table, size] of sizes.entries()) {
    const start = at;
    const frequencies = Uint16Array.from({ length: size }, (_, i) => view.getUint16(start + 2 * i, true));
    distributions.push({ offset: offsets[table]!, frequencies });
    at += 2 * size;
  }
  const tables = { points, channels, gain, median, tableOf, tables: poolOf(distributions) };
  checkValues(tables);
  return tables;
}

/** Writes `tables.bin`; `parseTables` gives the same tables back. */
export function serialiseTables(t: CodecTables): Uint8Array<ArrayBuffer> {
  checkValues(t);
  const cells = t.points * t.channels;
  const pool = Array.from({ length: t.tables.count }, (_, table) => t.tables.frequencies(table));
  const length = pool.reduce(
    (sum, frequencies) => sum + 4 + 2 * frequencies.length,
    HEADER_BYTES + 10 * cells,
  );
  if (length > MAX_TABLES_BYTES) throw tooLarge(length);

  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, VERSION);
  view.setUint8(5, t.points);
  view.setUint16(6, t.channels, true);
  view.setUint16(8, pool.length, true);
  let at = HEADER_BYTES;
  const putFloat = (value: number): void => {
    view.setFloat32(at, value, true);
    at += 4;
  };
  const putShort = (value: number): void => {
    view.setUint16(at, value, true); // an int16 has the same two bytes
    at += 2;
  };
  t.gain.forEach(putFloat);
  t.median.forEach(putFloat);
  t.tableOf.forEach(putShort);
  t.tables.offsets.forEach(putShort);
  for (const frequencies of pool) putShort(frequencies.length);
  for (const frequencies of pool) frequencies.forEach(putShort);
  return bytes;
}

function poolOf(distributions: readonly Distribution[]): RansTables {
  try {
    return RansTables.fromFrequencies(distributions);
  } catch (error) {
    if (!(error instanceof RansError)) throw error;
    throw new CodecError('tables-distribution', `tables.bin: ${error.message}`, { cause: error });
  }
}

function checkValues({ points, channels, gain, median, tableOf, tables }: CodecTables): void {
  for (let i = 0; i < points * channels; i++) {
    const where = `tables.bin, point ${Math.floor(i / channels)}, channel ${i % channels}`;
    if (!(gain[i]! > 0 && gain[i]! < Infinity)) {
      throw new CodecError('tables-value', `${where}: gain ${gain[i]} is not finite and above 0`);
    }
    if (!Number.isFinite(median[i])) throw new CodecError('tables-value', `${where}: median ${median[i]}`);
    if (tableOf[i]! >= tables.count) {
      throw new CodecError('tables-value', `${where}: table ${tableOf[i]}, but there are ${tables.count}`);
    }
  }
}

function wrongLength(bytes: Uint8Array, expected: number): CodecError {
  return new CodecError('tables-length', `tables.bin has ${bytes.length} bytes; its counts need ${expected}`);
}

function tooLarge(length: number): CodecError {
  return new CodecError(
    'tables-too-large',
    `tables.bin has ${length} bytes, more than ${MAX_TABLES_BYTES}; pool similar tables or export fewer points`,
  );
}
