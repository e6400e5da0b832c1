export { EdgeError, type EdgeErrorCode } from './common/errors.ts';
export { imageName, type ImageInput, type RawImage } from './common/image.ts';
export { toTensor } from './common/tensor.ts';
export type { Encoder, EncoderOutput, Runtime } from './common/runtime.ts';
export {
  createEdge,
  type AnalysedImage,
  type Edge,
  type EncodedImage,
  type EncodeOptions,
} from './common/edge.ts';
export type { LinkStats, QueueStats } from './common/controller/stats.ts';
export type {
  Action,
  EncoderChoice,
  Feedback,
  Limits,
  Policy,
  Sighting,
  Situation,
} from './common/controller/policy.ts';
