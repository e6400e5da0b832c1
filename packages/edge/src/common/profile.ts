import type { Manifest, OperatingPoint, Precision } from '@raccoon/bundle';
import { z } from 'zod';
import { EdgeError } from './errors.ts';

const count = z.int().positive();
const ms = z.number().nonnegative().describe('ms');
const spread = z.strictObject({ p50: ms, p95: ms });

const power = z.strictObject({
  watts: z.number().nonnegative(),
  joulesPerImage: z.number().nonnegative(),
  source: z
    .enum(['measured', 'modelled'])
    .describe("RAPL's counters of the processor package; or processor seconds times --cpu-watts"),
});

const row = z.strictObject({
  n: z.int().nonnegative().describe('residual blocks of the encoder'),
  precision: z.enum(['float32', 'int8']),
  threads: count.describe("the encoder's"),
  spin: z.boolean().describe('whether these spin while they wait'),
  q: z.int().nonnegative().describe('the rate level that codecMs and bytes are of'),
  loadMs: ms.describe('opening the encoder and running it once'),
  imageMs: spread.describe('decoding and resizing'),
  encoderMs: spread.describe('normalising and the encoder network'),
  codecMs: spread.describe('rounding and entropy coding'),
  totalMs: spread.describe('the three, of one image alone'),
  imagesPerSecond: z.number().positive().describe('one after the other, the next one decoded meanwhile'),
  macs: z.int().nonnegative().describe('multiply-accumulates of the encoder for one image'),
  macsPerSecond: z.number().nonnegative().describe('imagesPerSecond * macs'),
  bytes: z.number().positive().describe('of bitstream, mean over the photos'),
  peakRssBytes: count.describe("the process's largest resident memory while this row was measured"),
  power: power.optional(),
});

const envelopePoint = z.strictObject({
  width: count.describe('channels'),
  depth: count.describe('3x3 convolutions'),
  resolution: count.describe('rows and columns'),
  macs: count.describe('multiply-accumulates of one run'),
  ms: z.number().positive().describe('ms, median'),
  macsPerSecond: z.number().positive(),
});

const envelope = z.strictObject({
  threads: count,
  spin: z.boolean(),
  points: z.array(envelopePoint).min(1).describe('by rising macs'),
  bound: z
    .array(z.number().positive())
    .describe('the most multiply-accumulates a second of any network up to that point'),
  knee: envelopePoint.describe('the first point with 90 % of the most'),
  encoders: z.array(
    z.strictObject({
      n: z.int().nonnegative(),
      precision: z.enum(['float32', 'int8']),
      macs: z.int().nonnegative(),
      macsPerSecond: z.number().nonnegative(),
      utilisation: z.number().nonnegative().describe('of the bound at its macs, 0 to 1'),
    }),
  ),
});

export const profileSchema = z
  .strictObject({
    format: z.literal('raccoon-profile'),
    version: z.literal(1),
    measuredAt: z.string().describe('ISO 8601'),
    device: z.strictObject({
      cpu: z.string(),
      processors: count.describe('that the process may use'),
      memoryBytes: count,
      platform: z.string(),
      node: z.string(),
      onnxRuntime: z.string(),
    }),
    bundle: z.strictObject({ name: z.string(), version: z.string() }),
    photos: count.describe('that were encoded in turn'),
    warmUps: z.int().nonnegative(),
    repeats: count,
    rows: z.array(row).min(1),
    envelope: envelope.optional(),
  })
  .describe('What this device can do with a bundle: raccoon bench');

export type DeviceProfile = z.infer<typeof profileSchema>;
export type DeviceProfileRow = z.infer<typeof row>;
export type Power = z.infer<typeof power>;
export type Envelope = z.infer<typeof envelope>;
export type EnvelopePoint = z.infer<typeof envelopePoint>;

/** Parses and checks a profile. @throws EdgeError `profile`, with the first wrong field */
export function parseProfile(json: string, origin: string): DeviceProfile {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new EdgeError('profile', `${origin} is not JSON: \`raccoon bench\` writes a new one`, { cause });
  }
  const parsed = profileSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new EdgeError(
    'profile',
    `${origin} is no device profile (${issue?.path.join('.') || 'profile'}: ${issue?.message}): \`raccoon bench\` writes a new one`,
  );
}

/** The fastest way that was measured to run an encoder, of those with `threads` if they are fixed. */
export function fastestRow(
  profile: DeviceProfile,
  n: number,
  precision: Precision,
  threads?: number,
): DeviceProfileRow | undefined {
  return profile.rows
    .filter((of) => of.n === n && of.precision === precision && of.threads === (threads ?? of.threads))
    .toSorted((a, b) => a.totalMs.p50 - b.totalMs.p50)[0];
}

/** What int8 may cost in top-1, points, to be chosen for its speed. */
const MOST_POINTS_LOST = 0.5;
/** What it must save of the time to be worth another encoder. */
const LEAST_SAVED = 0.05;

/** An encoder's arithmetic, and why this one. */
export interface PrecisionChoice {
  readonly precision: Precision;
  readonly reason: string;
}

/**
 * `--precision auto`: int8 if this device was measured to be faster with it and the bundle's accuracy was measured to be
 * no more than half a point lower on average over the rate levels; else float32. Never silently: `reason` is for the user.
 */
export function choosePrecision(
  manifest: Manifest,
  n: number,
  profile: DeviceProfile | undefined,
  threads?: number,
): PrecisionChoice {
  const points = manifest.points.filter((point) => point.n === n);
  const quantised = points.filter(({ precision }) => precision === 'int8');
  if (quantised.length === 0) return float32(`${manifest.name} has no int8 encoder with n=${n}`);
  if (quantised.length === points.length) {
    return { precision: 'int8', reason: `int8: ${manifest.name} has no float32 encoder with n=${n}` };
  }
  if (!profile) return float32('this device has no profile yet; raccoon bench makes one');
  const slow = fastestRow(profile, n, 'float32', threads);
  const fast = fastestRow(profile, n, 'int8', threads);
  if (!slow || !fast)
    return float32(`this device's profile does not compare it with int8 at n=${n}; raccoon bench does`);
  const times = `${encodeMs(fast).toFixed(1)} ms in int8, ${encodeMs(slow).toFixed(1)} ms in float32 on this device`;
  const lost = pointsLost(points, quantised);
  if (lost === undefined)
    return float32(`${times}, but nobody measured what int8 costs in accuracy; raccoon eval --record does`);
  const accuracy = `${Math.abs(lost).toFixed(1)} points of top-1 ${lost > 0 ? 'less' : 'more'} on average`;
  if (lost > MOST_POINTS_LOST) return float32(`${times}, but ${accuracy}`);
  if (encodeMs(fast) > (1 - LEAST_SAVED) * encodeMs(slow))
    return float32(`int8 is not faster here: ${times}`);
  return { precision: 'int8', reason: `int8: ${times}; ${accuracy}` };
}

function encodeMs({ encoderMs, codecMs }: DeviceProfileRow): number {
  return encoderMs.p50 + codecMs.p50;
}

function float32(why: string): PrecisionChoice {
  return { precision: 'float32', reason: `float32: ${why}` };
}

/** Mean top-1 of float32 less that of int8, over the rate levels where both were measured. */
function pointsLost(
  points: readonly OperatingPoint[],
  quantised: readonly OperatingPoint[],
): number | undefined {
  const differences = quantised.flatMap(({ q, measured }) => {
    const full = points.find((point) => point.q === q && point.precision !== 'int8')?.measured;
    return measured && full ? [full.top1 - measured.top1] : [];
  });
  if (differences.length === 0) return undefined;
  return differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
}
