export { parseCalibration, type CalibrationFile, type ExitCalibration } from './calibration.ts';
export { BundleError, type BundleErrorCode } from './errors.ts';
export {
  FORMAT_VERSION,
  edgeFiles,
  findPoint,
  manifestJsonSchema,
  manifestSchema,
  parseManifest,
  pointName,
  stemOf,
  type Manifest,
  type MeasuredPoint,
  type MeasuredPrefix,
  type OperatingPoint,
  type Precision,
} from './manifest.ts';
export {
  SIGNATURE_FILE,
  generateKeys,
  readPublicKey,
  signManifest,
  verifySignature,
  type PublicKey,
} from './signature.ts';
export type { FileSource } from './source.ts';
export { collect, httpBundle, type RemoteBundle } from './remote.ts';
export {
  bundleBytes,
  checkSignature,
  loadBundle,
  verifyBundle,
  type Bundle,
  type LoadOptions,
} from './bundle.ts';
