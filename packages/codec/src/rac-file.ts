import { CodecError } from './errors.ts';
import { DEFAULT_LIMITS, MAX_SLICES } from './limits.ts';
import type { Limits } from './limits.ts';

const MAGIC = 0x00434152; // "RAC" and a zero byte, little-endian
const LENGTH_BYTES = 4;

/** Slices -> a `.rac` file: magic, then each slice after its length. */
export function writeRac(slices: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = slices.reduce((sum, slice) => sum + LENGTH_BYTES + slice.length, 4);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  view.setUint32(0, MAGIC, true);
  let at = 4;
  for (const slice of slices) {
    view.setUint32(at, slice.length, true);
    file.set(slice, at + LENGTH_BYTES);
    at += LENGTH_BYTES + slice.length;
  }
  return file;
}

/**
 * A `.rac` file -> slices (views of `file`); `decodeBitstream` checks what is in them.
 * Throws `CodecError` 'too-many-bytes', 'rac-magic', 'rac-length' or 'slice-count'.
 */
export function readRac(file: Uint8Array, limits: Partial<Limits> = {}): Uint8Array[] {
  const { maxBytes } = { ...DEFAULT_LIMITS, ...limits };
  if (file.length > maxBytes) {
    throw new CodecError('too-many-bytes', `the file has ${file.length} bytes; the limit is ${maxBytes}`);
  }
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 4 || view.getUint32(0, true) !== MAGIC) {
    throw new CodecError('rac-magic', 'not a .rac file: it does not start with RAC and a zero byte');
  }
  const slices: Uint8Array[] = [];
  for (let at = 4; at < file.length;) {
    if (slices.length === MAX_SLICES) {
      throw new CodecError(
        'slice-count',
        `the file goes on after ${MAX_SLICES} slices, the most that an image has`,
      );
    }
    const start = at + LENGTH_BYTES;
    const end = start <= file.length ? start + view.getUint32(at, true) : Infinity;
    if (end > file.length) {
      throw new CodecError(
        'rac-length',
        `slice ${slices.length} goes beyond the end of the file (${file.length} bytes)`,
      );
    }
    slices.push(file.subarray(start, end));
    at = end;
  }
  if (slices.length === 0) throw new CodecError('slice-count', 'the file has no slices');
  return slices;
}
