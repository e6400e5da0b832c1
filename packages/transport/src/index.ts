export { errorTable, isErrorCode, TransportError } from './errors.ts';
export type { ErrorRow, TransportErrorCode, TransportErrorOptions } from './errors.ts';
export { errorResponse } from './messages.ts';
export type {
  BundleInfo,
  ClassScore,
  Hello,
  InferError,
  InferRequest,
  InferResponse,
  Load,
  More,
  Result,
  ServiceWelcome,
  Welcome,
} from './messages.ts';
export { chooseProtocol, defaultLimits, MAX_SLICES, PROTOCOL_VERSION } from './protocol.ts';
export type { Limits } from './protocol.ts';
export type {
  Caller,
  CallOptions,
  CancelSignal,
  InferContext,
  InferenceService,
  InferStream,
  LaterSlices,
  Origin,
  ServiceLoad,
  TraceContext,
  Transport,
} from './transport.ts';
