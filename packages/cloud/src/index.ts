export {
  DEFAULTS,
  openService,
  startCloud,
  type Cloud,
  type CloudOptions,
  type CloudStatus,
  type LocalService,
  type ServiceBackend,
  type ServiceParts,
} from './cloud.ts';
export { CloudError, type CloudErrorCode } from './errors.ts';
export { endOnSignals, type Endable, type Phase } from './lifecycle.ts';
export { LOG_LEVELS, type LogLevel } from './log.ts';
export type { ModelState, ModelStatus } from './repository.ts';
export { makeToken, type TokenLine } from './tokens.ts';
export type { AdmissionLimits } from './admission.ts';
export { Pipeline, type PipelineLimits, type PipelineOptions, type PipelineStats } from './pipeline.ts';
export { CloudService, type ServiceOptions } from './service.ts';
export { softmax, toResult } from './result.ts';
