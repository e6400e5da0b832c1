import { RansError } from '../errors.ts';
import type { RansErrorCode } from '../errors.ts';

/** The values as int32: themselves if they are already, so that the coders' loops see one type of array. */
export function toInt32(values: ArrayLike<number>, noun: string, code: RansErrorCode): Int32Array {
  if (values instanceof Int32Array) return values;
  const integers = new Int32Array(values.length);
  for (let i = 0; i < integers.length; i++) {
    const value = values[i]!;
    if ((value | 0) !== value)
      throw new RansError(code, `${noun} ${i} is ${value}; it must be an int32 integer`);
    integers[i] = value;
  }
  return integers;
}
