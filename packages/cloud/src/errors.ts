/** One code per way a service cannot be started or told what to do. */
export type CloudErrorCode =
  | 'option' // a value that makes no sense, alone or with another
  | 'insecure' // it would listen beyond this machine without protection
  | 'address' // a port for metrics or admin calls that cannot be listened on
  | 'tokens' // a file of tokens that cannot be used
  | 'no-bundle' // nothing to serve, or nothing by that name
  | 'backend'; // another server that should run the networks, and does not, or runs others

/** A service that cannot be started, or a call to it that cannot be done; the message names the flag and the remedy. */
export class CloudError extends Error {
  readonly code: CloudErrorCode;

  constructor(code: CloudErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CloudError';
    this.code = code;
  }
}
