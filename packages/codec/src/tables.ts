import { RansError, parseTables as parsePool, serialiseTables as serialisePool } from '@raccoon/rans-coder';
import type { RansTables } from '@raccoon/rans-coder';
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
const VERSION = 1;
const HEADER_BYTES = 8;

/** Bytes of gain, median and table of one point and channel. */
const CELL_BYTES = 10;

/** Reads `tables.bin` version 1 (docs/bitstream.md, "Tables"). Throws `CodecError` 'tables-...'. */
export function parseTables(bytes: Uint8Array): CodecTables {
  if (bytes.length > MAX_TABLES_BYTES) throw tooLarge(bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || view.getUint32(0, true) !== MAGIC) {
    throw new CodecError('tables-magic', 'not a tables.bin: it does not start with RTAB');
  }
  if (bytes.length < HEADER_BYTES) throw tooShort(bytes, HEADER_BYTES);
  const version = view.getUint8(4);
  if (version !== VERSION) {
    throw new CodecError(
      'tables-version',
      `tables.bin has version ${version}; this reader knows version ${VERSION}: export the bundle with this release`,
    );
  }
  const points = view.getUint8(5);
  const channels = view.getUint16(6, true);
  if (points < 1 || channels < 1 || channels > MAX_SIDE) {
    throw new CodecError(
      'tables-header',
      `tables.bin says ${points} points, ${channels} channels; there are 1 to ${MAX_SIDE} of each`,
    );
  }

  const cells = points * channels;
  const beforePool = HEADER_BYTES + CELL_BYTES * cells;
  if (bytes.length < beforePool) throw tooShort(bytes, beforePool);
  let at = HEADER_BYTES;
  const gain = Float32Array.from({ length: cells }, (_, i) => view.getFloat32(at + 4 * i, true));
  at += 4 * cells;
  const median = Float32Array.from({ length: cells }, (_, i) => view.getFloat32(at + 4 * i, true));
  at += 4 * cells;
  const tableOf = Uint16Array.from({ length: cells }, (_, i) => view.getUint16(at + 2 * i, true));
  const tables = { points, channels, gain, median, tableOf, tables: poolOf(bytes.subarray(beforePool)) };
  checkValues(tables);
  return tables;
}

/** Writes `tables.bin`; `parseTables` gives the same tables back. Throws `CodecError` 'tables-...'. */
export function serialiseTables(t: CodecTables): Uint8Array<ArrayBuffer> {
  checkValues(t);
  const pool = serialisePool(t.tables);
  const beforePool = HEADER_BYTES + CELL_BYTES * t.points * t.channels;
  if (beforePool + pool.length > MAX_TABLES_BYTES) throw tooLarge(beforePool + pool.length);

  const bytes = new Uint8Array(beforePool + pool.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, VERSION);
  view.setUint8(5, t.points);
  view.setUint16(6, t.channels, true);
  let at = HEADER_BYTES;
  for (const value of [...t.gain, ...t.median]) {
    view.setFloat32(at, value, true);
    at += 4;
  }
  for (const table of t.tableOf) {
    view.setUint16(at, table, true);
    at += 2;
  }
  bytes.set(pool, at);
  return bytes;
}

function poolOf(bytes: Uint8Array): RansTables {
  try {
    return parsePool(bytes);
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

function tooShort(bytes: Uint8Array, expected: number): CodecError {
  return new CodecError(
    'tables-length',
    `tables.bin has ${bytes.length} bytes; its counts need ${expected} before the pool`,
  );
}

function tooLarge(length: number): CodecError {
  return new CodecError(
    'tables-too-large',
    `tables.bin has ${length} bytes, more than ${MAX_TABLES_BYTES}; pool similar tables or export fewer points`,
  );
}
