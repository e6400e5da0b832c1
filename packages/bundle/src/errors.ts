/** One code per way a bundle can be wrong. */
export type BundleErrorCode =
  | 'not-found'
  | 'manifest-syntax'
  | 'manifest-version'
  | 'manifest-schema'
  | 'file-missing'
  | 'file-size'
  | 'file-hash'
  | 'tables'
  | 'codec-id'
  | 'key' // not an ed25519 key
  | 'unsigned'
  | 'signature' // of nobody who is trusted, or over another manifest
  | 'expired' // the signature's time is over
  | 'unreachable' // the place that it is fetched from
  | 'self-test' // it does not work on this machine
  | 'store' // the folder of fetched bundles
  | 'unknown-point'
  | 'no-stem'
  | 'calibration';

/** A bundle that cannot be used; `code` says why, the message names the file and the remedy. */
export class BundleError extends Error {
  readonly code: BundleErrorCode;

  constructor(code: BundleErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BundleError';
    this.code = code;
  }
}
