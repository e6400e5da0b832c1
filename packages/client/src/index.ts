export {
  isFailure,
  RequestError,
  type Classification,
  type Failure,
  type Outcome,
  type ScoredClass,
} from './classification.ts';
export { choosePoint, connect, type Client, type ConnectOptions, type Images } from './client.ts';
