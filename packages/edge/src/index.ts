export { EdgeError, type EdgeErrorCode } from './common/errors.ts';
export { imageName, type ImageInput, type RawImage } from './common/image.ts';
export { toTensor } from './common/tensor.ts';
export type { Encoder, Runtime } from './common/runtime.ts';
export { createEdge, type Edge, type EncodedImage } from './common/edge.ts';
