export { openEdge, type EdgeOptions } from './edge.ts';
export { MAX_MEGAPIXELS, MIN_SIDE, readPixels } from './pixels.ts';
