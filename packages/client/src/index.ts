export type { ReconnectOptions } from './backoff.ts';
export {
  isFailure,
  type Classification,
  type Failure,
  type Outcome,
  type ScoredClass,
} from './classification.ts';
export {
  choosePoint,
  createClient,
  type ClassifyOptions,
  type Client,
  type ClientOptions,
} from './client.ts';
export { cloudBundle } from './cloud-bundle.ts';
export { connect, type ConnectOptions } from './connect.ts';
export { ClientError, RequestError, type ClientErrorCode } from './errors.ts';
export { ClientEvents, type ClientEventMap } from './events.ts';
export { LinkEstimate } from './link-estimate.ts';
export type { DnsOptions } from './dns.ts';
export { WIRE_OVERHEAD_BYTES } from './link.ts';
export type { Images } from './pipeline.ts';
export { channelEndsAt, sendSlices, type ProgressiveOptions, type SlicedImage } from './progressive.ts';
export type { Dialled, Replicas, Way } from './replicas.ts';
