export { EdgeError, type EdgeErrorCode } from './common/errors.ts';
export { imageName, type ImageInput, type RawImage } from './common/image.ts';
export { toTensor } from './common/tensor.ts';
export type { Encoder, EncoderOutput, Runtime } from './common/runtime.ts';
export { createEdge, type Edge, type EncodedImage, type EncodeOptions } from './common/edge.ts';
