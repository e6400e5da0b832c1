/** One code per way an image or an encoder can be wrong. */
export type EdgeErrorCode =
  | 'not-found'
  | 'not-an-image'
  | 'image-too-small'
  | 'image-too-large'
  | 'raw-size'
  | 'encoder'
  | 'platform' // this browser, or this page, cannot run one
  | 'self-test'
  | 'profile'
  | 'closed'
  | 'controller-state';

/** An image that cannot be encoded; the message names it and the remedy. Other images are not affected. */
export class EdgeError extends Error {
  readonly code: EdgeErrorCode;

  constructor(code: EdgeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EdgeError';
    this.code = code;
  }
}
