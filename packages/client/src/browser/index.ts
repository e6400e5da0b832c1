export type { Bundle, Manifest } from '@raccoon/bundle';
export {
  createPolicy,
  localAnswer,
  type Action,
  type AnalysedImage,
  type Feedback,
  type Policy,
  type PreparedImage,
  type Sighting,
  type Situation,
} from '@raccoon/edge';
export { toRawImage, type BrowserImage, type RuntimeReport } from '@raccoon/edge/browser';
export { isFailure, type Classification, type Failure, type Outcome } from '../classification.ts';
export type { ClassifyOptions, Client, ClientOptions } from '../client.ts';
export { ClientError, RequestError } from '../errors.ts';
export { connect, type BrowserClient, type BrowserConnectOptions } from './connect.ts';
