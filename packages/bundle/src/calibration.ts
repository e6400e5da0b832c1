import { z } from 'zod';
import { BundleError } from './errors.ts';

const count = z.int().positive();
const percent = z.number().min(0).max(100).describe('percent');
const unit = z.number().min(0).max(1);

const bin = z.strictObject({
  margin: unit.describe('lower end of the bin; its upper end is the next one, of the last 1'),
  exitTop1: percent,
  cloudTop1: percent,
});

/** How often answers are the unsplit network's, on photos of some kind. */
const agreement = z.strictObject({
  data: z.string(),
  images: count,
  exit: percent.describe("percent of the photos whose first class is the exit's and the unsplit network's"),
  cloud: percent.describe("the same of the cloud's answer"),
});

const measured = z.strictObject({
  data: z.string().describe('which photos'),
  calibrated: count.describe('photos that temperature, threshold and alpha were chosen on'),
  reported: count.describe('other photos, which the numbers are of'),
  q: z.int().min(0).describe('rate level of what was sent to the cloud'),
  top1: percent.describe('exit and cloud together'),
  cloudTop1: percent.describe('everything sent to the cloud'),
  sent: percent.describe('percent of the photos that were sent'),
});

export const exitCalibration = z
  .strictObject({
    n: z.int().min(0),
    precision: z.enum(['float32', 'int8']),
    temperature: z.number().positive().describe("the exit's logits are divided by it"),
    ece: z
      .strictObject({ before: unit, after: unit })
      .describe('expected calibration error, without and with the temperature'),
    threshold: z.number().min(0).describe('D0: answered locally if the margin is above it; from 1 on, never'),
    alpha: z
      .number()
      .positive()
      .optional()
      .describe(
        "weight of the cloud's logits in the sum with the exit's; left out: the cloud's alone answer",
      ),
    margins: z.array(bin).min(1).describe('accuracy of exit and cloud by the margin, rising'),
    trusted: z.boolean().describe('whether the exit may answer on its own, not only where nothing else can'),
    measured,
    inside: agreement.optional().describe('on photos of classes like those it was trained on'),
    outside: agreement.optional().describe('on photos of other classes'),
  })
  .describe('how far the local exit of one encoder can be believed: raccoon calibrate');

export const exitCalibrations = z.array(exitCalibration).min(1);

const calibrationFile = z.strictObject({
  format: z.literal('raccoon-calibration'),
  version: z.literal(1),
  bundle: z.strictObject({ name: z.string(), version: z.string() }),
  encoders: exitCalibrations,
});

/** How far the local exit of one encoder can be believed. */
export type ExitCalibration = z.infer<typeof exitCalibration>;
/** What `raccoon calibrate --out` writes. */
export type CalibrationFile = z.infer<typeof calibrationFile>;

/**
 * Parses and checks what `raccoon calibrate --out` wrote.
 * @throws BundleError `calibration`: it is no such file, or of another bundle
 */
export function parseCalibration(
  json: string,
  origin: string,
  bundle: { readonly name: string; readonly version: string },
): ExitCalibration[] {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new BundleError('calibration', `${origin} is not JSON: write it with raccoon calibrate --out`, {
      cause,
    });
  }
  const parsed = calibrationFile.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new BundleError(
      'calibration',
      `${origin}: ${issue?.path.join('.') || 'calibration'}: ${issue?.message}`,
    );
  }
  const { name, version } = parsed.data.bundle;
  if (name !== bundle.name || version !== bundle.version) {
    throw new BundleError(
      'calibration',
      `${origin} is of ${name} ${version}, not of ${bundle.name} ${bundle.version}: calibrate again`,
    );
  }
  return parsed.data.encoders;
}
