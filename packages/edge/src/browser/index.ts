export { openBrowserEdge, type BrowserEdge, type BrowserEdgeOptions, type RuntimeReport } from './edge.ts';
export type { Backend, Choice } from './encoder.ts';
export { toRawImage, type BrowserImage } from './image.ts';
export { readPixels } from './pixels.ts';
