/** One code per way the page's files can be wrong. */
export type WebErrorCode = 'not-built';

/** The page cannot be served; the message names the remedy. */
export class WebError extends Error {
  readonly code: WebErrorCode;

  constructor(code: WebErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'WebError';
    this.code = code;
  }
}
