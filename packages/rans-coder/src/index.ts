export { RansError } from './errors.ts';
export type { RansErrorCode } from './errors.ts';
export { RansTables } from './tables.ts';
export type { Distribution } from './tables.ts';
export { encode } from './encode.ts';
export { decode } from './decode.ts';
