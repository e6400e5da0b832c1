export { BundleError, type BundleErrorCode } from './errors.ts';
export {
  FORMAT_VERSION,
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
export type { FileSource } from './source.ts';
export { bundleBytes, loadBundle, verifyBundle, type Bundle } from './bundle.ts';
