export { openEdge, type EdgeOptions } from './edge.ts';
export { MAX_MEGAPIXELS, MIN_SIDE } from '../common/size.ts';
export { readPixels } from './pixels.ts';
export { findProfile, profilePath, saveProfile, thisDevice } from './profile.ts';
