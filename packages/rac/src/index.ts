export {
  calibrateExits,
  type CalibrateOptions,
  type Cascade,
  type CascadeReport,
  type CascadeRow,
} from './calibrate.ts';
export { encodeImage, type ImageCodec, type ImageFormat } from './codecs.ts';
export { pairedDifference, partnerOf, type ComparedRow, type Difference } from './compare.ts';
export {
  evaluatePoints,
  evaluateWay,
  type Answer,
  type Evaluation,
  type PhotoOutcome,
  type PointEvaluation,
  type PointOptions,
  type Progress,
  type Sent,
  type Way,
} from './evaluate.ts';
export { shareInterval } from './interval.ts';
export { measureRows, type MeasureRowsOptions } from './measure.ts';
export { labelOf, needsStem, openWay, parseBaseline, type Method, type RowLabel } from './methods.ts';
export { openPointWay, type ByteSplit, type PointWay } from './point-way.ts';
export { addNoise } from './noise.ts';
export { emptyResults, ResultsStore, type Circumstances } from './results-store.ts';
export type { MeasuredRow } from './worker.ts';
export { chooseCurve, readCurves, type Curve, type CurvePoint } from './curve.ts';
export { delta, deltaIntervals, type Delta, type DeltaIntervals } from './delta.ts';
export { benchDevice, type DeviceBenchOptions } from './device-bench.ts';
export { headRoom, measureEnvelope, withUtilisation, type EnvelopeOptions } from './envelope.ts';
export { fewestSimulated, planFleet, simulateDemand, type FleetDemand, type FleetPlan } from './fleet.ts';
export { measureServiceTimes, type MeasuredService, type MeasureOptions } from './fleet-measure.ts';
export { serviceTimes, type BatchTime, type ServiceTimes } from './fleet-service-time.ts';
export type { Balancer, SimulatedFleet } from './fleet-simulator.ts';
export { encodeJpeg, jpegNearest, type JpegPhoto } from './jpeg.ts';
export { labelsOf, listImageFolder, samplePhotos, type LabelledPhoto } from './photos.ts';
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
export {
  plotPage,
  plotSvg,
  type Axis,
  type Bars,
  type Plot,
  type PlotPoint,
  type PlotSeries,
} from './plot.ts';
export { mean, quantile, topClasses } from './ranking.ts';
export { loadUnsplit, type UnsplitNetwork } from './unsplit.ts';
export { startWireMeter, type WireMeter } from './wire-meter.ts';
export {
  REPORT_FORMATS,
  writeReport,
  type ReportFormat,
  type ReportOptions,
  type WrittenReport,
} from './report/write.ts';
export { isClean, parseResults, type ResultRow, type ResultsFile } from './results.ts';
export { type Call } from './sweep/commands.ts';
export { localEngine, type Engine, type EngineEvents } from './sweep/local.ts';
export { planSweep, type PlannedTrial, type SweepPlan } from './sweep/plan.ts';
export { rayEngine, type RayEvent, type RayTask } from './sweep/ray.ts';
export { parseSpec, readSpec, type Spec } from './sweep/spec.ts';
export { SweepStore, type Trained } from './sweep/store.ts';
export { runSweep, type SweepOutcome, type SweepProgress } from './sweep/sweep.ts';
export { studyTables } from './sweep/tables.ts';
export { trialsOf, type Training, type Trial } from './sweep/trials.ts';
export { runUnit, unitsOf, type TrainingPackage, type Unit, type UnitContext } from './sweep/unit.ts';
