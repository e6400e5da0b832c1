export {
  calibrateExits,
  type CalibrateOptions,
  type Cascade,
  type CascadeReport,
  type CascadeRow,
} from './calibrate.ts';
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
export { chooseCurve, readCurves, type Curve, type CurvePoint } from './curve.ts';
export { delta, deltaIntervals, type Delta, type DeltaIntervals } from './delta.ts';
export { benchDevice, type DeviceBenchOptions } from './device-bench.ts';
export { headRoom, measureEnvelope, withUtilisation, type EnvelopeOptions } from './envelope.ts';
export { fewestSimulated, planFleet, simulateDemand, type FleetDemand, type FleetPlan } from './fleet.ts';
export { measureServiceTimes, type MeasuredService, type MeasureOptions } from './fleet-measure.ts';
export { serviceTimes, type BatchTime, type ServiceTimes } from './fleet-service-time.ts';
export type { Balancer, SimulatedFleet } from './fleet-simulator.ts';
export { encodeJpeg, jpegNearest, type JpegPhoto } from './jpeg.ts';
export { listImageFolder, samplePhotos, type LabelledPhoto } from './photos.ts';
export {
  evaluateSlices,
  inOneSlice,
  stopAt,
  type SlicedEvaluation,
  type SlicedPhoto,
  type StopRow,
} from './progressive.ts';
export { evaluatePrefixes, prefixEnds, type PrefixEvaluation } from './prefixes.ts';
export { countParameters } from './onnx.ts';
export { plotPage, plotSvg, type Axis, type Plot, type PlotPoint, type PlotSeries } from './plot.ts';
export { mean, quantile, topClasses } from './ranking.ts';
export { loadUnsplit, type UnsplitNetwork } from './unsplit.ts';
export { startWireMeter, type WireMeter } from './wire-meter.ts';
export { parseResults, type ResultRow, type ResultsFile } from './results.ts';
