import type { TransportErrorCode } from '@raccoon/transport';

/** The cloud's refusal of one request. */
export class RequestError extends Error {
  readonly code: TransportErrorCode;
  /** ms to wait before a retry, 0 = no advice. */
  readonly retryAfterMs: number;

  constructor(code: TransportErrorCode, message: string, retryAfterMs: number) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** One code per way that neither the cloud, the link nor the image is to blame for. */
export type ClientErrorCode =
  | 'dropped' // the policy saw no way to the cloud in time, and there is no local exit
  | 'not-found' // no such folder, or nothing matches
  | 'no-photos' // a folder without any
  | 'not-jpeg' // a stream that is no concatenation of JPEGs
  | 'cut-stream' // it ends within one
  | 'too-large' // one of them has more bytes than the limit
  | 'no-ffmpeg' // not installed
  | 'ffmpeg'; // it cannot read its input

/** An image that was not sent, or a source of images that cannot be read. */
export class ClientError extends Error {
  readonly code: ClientErrorCode;

  constructor(code: ClientErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ClientError';
    this.code = code;
  }
}
