import { RansError } from '../errors.ts';
import { toInt32 } from './integers.ts';

/** Bits of a probability: a table's last cumulative count is 2^16. */
const TOTAL = 1 << 16;

/**
 * CompressAI's tables, checked and laid out for coding. Table t codes symbol `offsets[t] + k` with entry k, and every
 * symbol that it does not have with its last entry, `lasts[t]`, and digits.
 */
export interface Tables {
  /** Number of tables. */
  readonly count: number;
  /** (count) symbol of entry 0. */
  readonly offsets: Int32Array;
  /** (count) entry of the escape = number of symbols = `cdfSizes[t] - 2`. */
  readonly lasts: Int32Array;
  /** (count) position of entry 0 in `entries`. */
  readonly firsts: Int32Array;
  /** All tables one after the other: cumulative count << 16 | frequency - 1, as a frequency may be all of 2^16. */
  readonly entries: Int32Array;
  /** (count) bits by which a slot is shifted to give its bucket. */
  readonly shifts: Uint8Array;
  /** (count) position of bucket 0 in `buckets`. */
  readonly firstBuckets: Int32Array;
  /** All tables one after the other: entry that holds the first slot of the bucket. */
  readonly buckets: Uint16Array;
}

const made = new WeakMap<object, Tables>();

/**
 * The tables of `cdfs`: row t holds `cdfSizes[t]` cumulative counts from 0, strictly rising, to 65536; what is beyond is
 * padding and not looked at. `offsets[t]` and the table's symbols are int32.
 *
 * They are made once for an array of rows and made again when anything in the rows, sizes or offsets differs from what
 * they were made of: all of it is compared at every call, which takes about as long as decoding a symbol for every 10
 * counts, and is why a caller may change its arrays at any time. Throws `RansError` 'length-mismatch' or
 * 'invalid-table'.
 */
export function tablesOf(
  cdfs: ArrayLike<ArrayLike<number>>,
  cdfSizes: ArrayLike<number>,
  offsets: ArrayLike<number>,
): Tables {
  if (cdfSizes.length !== cdfs.length || offsets.length !== cdfs.length) {
    throw new RansError(
      'length-mismatch',
      `${cdfs.length} cdfs but ${cdfSizes.length} cdfSizes and ${offsets.length} offsets; give one of each per table`,
    );
  }
  const before = made.get(cdfs);
  if (before && isMadeOf(before, cdfs, cdfSizes, offsets)) return before;
  const tables = makeTables(cdfs, cdfSizes, offsets);
  made.set(cdfs, tables);
  return tables;
}

function isMadeOf(
  { count, offsets, lasts, firsts, entries }: Tables,
  cdfs: ArrayLike<ArrayLike<number>>,
  cdfSizes: ArrayLike<number>,
  cdfOffsets: ArrayLike<number>,
): boolean {
  if (cdfs.length !== count) return false;
  for (let t = 0; t < count; t++) {
    const last = lasts[t]!;
    const first = firsts[t]!;
    const cdf = cdfs[t]!;
    if (cdfSizes[t] !== last + 2 || cdfOffsets[t] !== offsets[t] || cdf[last + 1] !== TOTAL) return false;
    for (let k = 0; k <= last; k++) if (cdf[k] !== entries[first + k]! >>> 16) return false;
  }
  return true;
}

function makeTables(
  cdfs: ArrayLike<ArrayLike<number>>,
  cdfSizes: ArrayLike<number>,
  cdfOffsets: ArrayLike<number>,
): Tables {
  const count = cdfs.length;
  const offsets = toInt32(cdfOffsets, 'offset', 'invalid-table').slice();
  const lasts = new Int32Array(count);
  const firsts = new Int32Array(count);
  const shifts = new Uint8Array(count);
  const firstBuckets = new Int32Array(count);
  let entryCount = 0;
  let bucketCount = 0;
  for (let t = 0; t < count; t++) {
    const size = checkedSize(t, cdfSizes[t]!, cdfs[t]!);
    const bits = bucketBits(size);
    const largest = offsets[t]! + size - 3;
    if (largest > 0x7fffffff) throw invalid(t, `has symbols up to ${largest}; they must be int32`);
    lasts[t] = size - 2;
    firsts[t] = entryCount;
    shifts[t] = 16 - bits;
    firstBuckets[t] = bucketCount;
    entryCount += size - 1;
    bucketCount += 1 << bits;
  }

  const entries = new Int32Array(entryCount);
  const buckets = new Uint16Array(bucketCount);
  for (let t = 0; t < count; t++) {
    const cdf = cdfs[t]!;
    const last = lasts[t]!;
    const first = firsts[t]!;
    const shift = shifts[t]!;
    const firstBucket = firstBuckets[t]!;
    let start = cdf[0]!;
    if (start !== 0) throw invalid(t, `starts at ${start}; the first count must be 0`);
    let bucket = 0;
    for (let k = 0; k <= last; k++) {
      const end = cdf[k + 1]!;
      if (!Number.isInteger(end) || end <= start || end > TOTAL) {
        throw invalid(t, `has ${end} after ${start}; counts must be integers that rise strictly to 65536`);
      }
      entries[first + k] = (start << 16) | (end - start - 1);
      for (; bucket << shift < end; bucket++) buckets[firstBucket + bucket] = k;
      start = end;
    }
    if (start !== TOTAL) throw invalid(t, `ends at ${start}; the last of its cdfSizes counts must be 65536`);
  }
  return { count, offsets, lasts, firsts, entries, shifts, firstBuckets, buckets };
}

function checkedSize(table: number, size: number, cdf: ArrayLike<number>): number {
  if (!Number.isInteger(size) || size < 2 || size > TOTAL + 1) {
    throw invalid(table, `has size ${size}; a table has 2 to 65537 counts`);
  }
  if (cdf.length < size) throw invalid(table, `has ${cdf.length} counts but its size is ${size}`);
  return size;
}

/**
 * Bits of a bucket's number. The decoder jumps to a slot's bucket and walks: with 4 buckets an entry to 8 that is a
 * quarter of a step for slots that are all as likely, and with 2^8 buckets at least never more than 255.
 */
function bucketBits(size: number): number {
  return Math.min(16, Math.max(8, 34 - Math.clz32(size)));
}

function invalid(table: number, what: string): RansError {
  return new RansError('invalid-table', `table ${table} ${what}`);
}
