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
  type PreparedImage,
} from './common/edge.ts';
export { accumulate, staysLocal } from './common/cascade.ts';
export { localAnswer, softmax, type LocalAnswer } from './common/exit.ts';
export { predictAnswerMs, probabilityInTime } from './common/controller/prediction.ts';
export {
  choosePrecision,
  fastestRow,
  parseProfile,
  profileSchema,
  type DeviceProfile,
  type DeviceProfileRow,
  type Envelope,
  type EnvelopePoint,
  type Power,
  type PrecisionChoice,
} from './common/profile.ts';
export {
  explainViolations,
  planPoint,
  type Plan,
  type PlanCandidate,
  type PlanLimit,
  type PlanLimits,
  type Violation,
} from './common/plan.ts';
export type { LinkStats, QueueStats } from './common/controller/stats.ts';
export type { BanditOptions } from './common/controller/ucb.ts';
export type {
  Action,
  EncoderChoice,
  Feedback,
  Limits,
  Policy,
  Sighting,
  Situation,
} from './common/controller/policy.ts';
export {
  createPolicy,
  POLICY_NAMES,
  type PolicyName,
  type PolicyOptions,
  type ProfileRow,
} from './common/controller/create.ts';
export { selfTest } from './common/self-test.ts';
