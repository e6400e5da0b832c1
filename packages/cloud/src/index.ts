export {
  DEFAULTS,
  openService,
  startCloud,
  type Cloud,
  type CloudOptions,
  type LocalService,
} from './cloud.ts';
export type { BatchLimits } from './queue.ts';
export { CloudService } from './service.ts';
export { softmax, toResult } from './result.ts';
