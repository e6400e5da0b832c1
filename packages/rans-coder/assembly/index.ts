export { decodeIndexed, decodeRuns } from './decode';
export { encodeIndexed, encodeRuns } from './encode';
export { narrow, widen } from './convert';
