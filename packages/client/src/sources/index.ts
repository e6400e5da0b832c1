export { jpegs, piped, type JpegsOptions } from './jpegs.ts';
export { latest, type LiveImages } from './latest.ts';
export { photos, type PhotosOptions } from './photos.ts';
export { camera, isLive, video, type CameraOptions, type VideoOptions } from './video.ts';
export { watch, type WatchOptions } from './watch.ts';
