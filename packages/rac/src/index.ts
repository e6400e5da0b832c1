export { pairedDifference, partnerOf, type ComparedRow, type Difference } from './compare.ts';
export {
  evaluateJpeg,
  evaluatePoints,
  evaluateUnsplit,
  type ByteSplit,
  type Evaluation,
  type PhotoOutcome,
  type PointEvaluation,
  type PointOptions,
  type Progress,
} from './evaluate.ts';
export { encodeJpeg, jpegNearest, type JpegPhoto } from './jpeg.ts';
export { listImageFolder, samplePhotos, type LabelledPhoto } from './photos.ts';
export { evaluatePrefixes, prefixEnds, type PrefixEvaluation } from './prefixes.ts';
export { mean, quantile, topClasses } from './ranking.ts';
export { loadUnsplit, type UnsplitNetwork } from './unsplit.ts';
export { startWireMeter, type WireMeter } from './wire-meter.ts';
