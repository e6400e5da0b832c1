import { z } from 'zod';
import type { PhotoOutcome } from './evaluate.ts';
import type { ByteSplit } from './point-way.ts';

/**
 * One method with one setting on one set of photos. Accuracies in percent, rates in bits per pixel of the network's input,
 * times in ms; null where a method has no such thing or nothing was measured.
 */
export interface ResultRow {
  /** How an image travels: `raccoon`, `paper-n4`, `entropic-student`, `jpeg`, `webp`, `avif`, `raw-int8`, `unsplit-edge`, ... */
  method: string;
  /** Rows of one series are one rate-accuracy curve: `raccoon n=8`, `webp effort=4`. */
  series: string;
  /** What is different within the series, for people: `q=3`, `quality=40`. */
  point: string;
  /** The same for programs: n, q, precision, quality, effort, lambda, seed, ...; `noise` of what `addNoise` added. */
  settings: Record<string, string | number | boolean>;
  images: number;
  top1: number;
  /** 95 %, by a bootstrap over the photos. */
  top1Interval?: [low: number, high: number] | undefined;
  top5: number;
  /** Of the local exit alone; where it was asked for. */
  exitTop1?: number | undefined;
  payloadBpp: number;
  /** With everything that TCP carried from the edge to the cloud. */
  wireBpp: number | null;
  bytesPerImage: number;
  /** Where they go, where it is known. */
  bytes?: ByteSplit | undefined;
  /** From the photo's pixels at the network's size to the bytes. */
  encodeMs: { p50: number; p95: number } | null;
  /** Rounding and entropy coding at the edge, mean. */
  entropyMs: number | null;
  /** Decoding and inference in the cloud, mean. */
  cloudMs: number | null;
  /** Multiply-accumulates at the edge for one image. */
  edgeMacs: number | null;
  edgeParameters: number | null;
  /** Of the edge's process. */
  peakMemoryMiB: number | null;
  /** Of the edge for one image: read from a counter, or worked out. */
  energyMillijoule: { value: number; source: 'measured' | 'modelled' } | null;
  /** What became of every photo, in the photos' order; absent: not kept. */
  photos?: PhotoOutcome[] | undefined;
}

/** One measurement: what `raccoon eval --out` and each trial of a sweep writes, and what `raccoon report` reads. */
export interface ResultsFile {
  format: 'raccoon-results';
  version: 1;
  /** ISO 8601. */
  createdAt: string;
  /** That reproduces it; one a line where there were several. */
  command: string;
  environment: { cpu: string; cores: number; threads: number; node: string; raccoon: string };
  data: {
    name: string;
    images: number;
    /** Of the sample; null: all photos. */
    seed: number | null;
    /** Of the photos' names. */
    id?: string | undefined;
  };
  /** The network that every method's cloud runs: comparisons hold within one. */
  bundle: {
    name: string;
    version: string;
    classes: number;
    /** Of its files. */
    id?: string | undefined;
  };
  rows: ResultRow[];
}

/** Of photos as they are, and not of noisy ones. */
export const isClean = ({ settings }: Pick<ResultRow, 'settings'>): boolean => !settings['noise'];

const amount = z.number().nonnegative();
const percent = z.number().min(0).max(100);
const text = z.string().min(1);

const resultRow: z.ZodType<ResultRow> = z.strictObject({
  method: text,
  series: text,
  point: text,
  settings: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  images: z.int().positive(),
  top1: percent,
  top1Interval: z.tuple([percent, percent]).optional(),
  top5: percent,
  exitTop1: percent.optional(),
  payloadBpp: amount,
  wireBpp: amount.nullable(),
  bytesPerImage: amount,
  bytes: z
    .strictObject({
      estimated: amount,
      words: amount,
      flush: amount,
      header: amount,
      protobuf: amount,
      grpc: amount,
      http2: amount,
    })
    .optional(),
  encodeMs: z.strictObject({ p50: amount, p95: amount }).nullable(),
  entropyMs: amount.nullable(),
  cloudMs: amount.nullable(),
  edgeMacs: amount.nullable(),
  edgeParameters: amount.nullable(),
  peakMemoryMiB: amount.nullable(),
  energyMillijoule: z.strictObject({ value: amount, source: z.enum(['measured', 'modelled']) }).nullable(),
  photos: z
    .array(z.strictObject({ photo: text, right: z.boolean(), bytes: z.int().nonnegative() }))
    .optional(),
});

const resultsFile: z.ZodType<ResultsFile> = z.strictObject({
  format: z.literal('raccoon-results'),
  version: z.literal(1),
  createdAt: text,
  command: text,
  environment: z.strictObject({
    cpu: text,
    cores: z.int().positive(),
    threads: z.int().positive(),
    node: text,
    raccoon: text,
  }),
  data: z.strictObject({
    name: text,
    images: z.int().positive(),
    seed: z.int().nullable(),
    id: text.optional(),
  }),
  bundle: z.strictObject({ name: text, version: text, classes: z.int().positive(), id: text.optional() }),
  rows: z.array(resultRow).min(1),
});

/**
 * @param origin for messages: the file
 * @throws Error naming the field that is wrong
 */
export function parseResults(value: unknown, origin: string): ResultsFile {
  const parsed = resultsFile.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new Error(`${origin} is no raccoon-results file, version 1: ${path.join('.') || 'top'}: ${message}`);
}
