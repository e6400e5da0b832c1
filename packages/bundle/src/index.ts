export { BundleError, type BundleErrorCode } from './errors.ts';
export {
  FORMAT_VERSION,
  findPoint,
  manifestJsonSchema,
  manifestSchema,
  parseManifest,
  type Manifest,
  type MeasuredPoint,
  type OperatingPoint,
} from './manifest.ts';
export type { FileSource } from './source.ts';
export { bundleBytes, loadBundle, verifyBundle, type Bundle } from './bundle.ts';
