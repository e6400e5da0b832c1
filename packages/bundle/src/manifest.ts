import { z } from 'zod';
import { exitCalibrations } from './calibration.ts';
import { BundleError } from './errors.ts';

/** The manifest version that this package reads. */
export const FORMAT_VERSION = 0;

const fileName = z.string().regex(/^[a-z0-9][a-z0-9._-]*$/i, 'a plain file name');
const hex = (digits: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`), `${digits} lower-case hex digits`);
const count = z.int().positive();
const channelTriple = z.tuple([z.number(), z.number(), z.number()]);

const shape = z.strictObject({
  channels: count.describe('channels'),
  height: count.describe('rows'),
  width: count.describe('columns'),
});

const graph = z.strictObject({
  file: fileName,
  macs: z.int().nonnegative().describe('multiply-accumulates for one image'),
});

const percent = z.number().min(0).max(100).describe('percent');
const payloadBpp = z.number().positive().describe('mean bits of bitstream per pixel of the network input');

const prefix = z.strictObject({
  channels: count.describe('the first channels of the latent, in the first slices'),
  top1: percent,
  payloadBpp,
});

const measured = z.strictObject({
  data: z.string().describe('which photos, for instance "imagenet20 val"'),
  images: count,
  top1: percent,
  top5: percent,
  payloadBpp,
  exitTop1: percent.optional().describe('percent, the local exit alone'),
  prefixes: z.array(prefix).optional().describe('when only the first channels are sent, by rising channels'),
});

const operatingPoint = z.strictObject({
  n: z.int().min(0).describe('residual blocks of the encoder'),
  q: z.int().min(0).describe('rate level, 0 = fewest bits'),
  precision: z
    .enum(['float32', 'int8'])
    .optional()
    .describe('arithmetic of the encoder; float32 when left out'),
  encoder: fileName.describe('tensor (1, 3, H, W) -> latent (1, C, h, w) and, with exit, logits (1, K)'),
  edgeMacs: z.int().nonnegative().describe('multiply-accumulates of the encoder for one image'),
  expectedBpp: z.number().positive().describe("the entropy model's estimate at export, bits per pixel"),
  measured: measured.optional().describe('through the real codec: raccoon eval --record'),
});

export const manifestSchema = z
  .strictObject({
    format: z.literal('raccoon-bundle'),
    formatVersion: z.literal(FORMAT_VERSION),
    name: z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'lower-case letters, digits and dashes'),
    version: z.string().regex(/^\d+\.\d+\.\d+$/, 'a version such as 0.1.0'),
    licence: z.string(),
    description: z.string(),
    provenance: z.record(z.string(), z.json()).describe('where weights and data come from'),
    latentSpaceId: hex(32).describe('made once per training run; encoders of that run inherit it'),
    codecs: z
      .array(z.strictObject({ id: hex(12), tables: fileName }))
      .min(1)
      .describe('codecs that the cloud half accepts; edges write with the first'),
    input: z.strictObject({
      width: count.describe('px'),
      height: count.describe('px'),
      shortSide: count.describe('px; a photo that already has the input size is not resampled'),
      filter: z.literal('bilinear-antialias'),
      mean: channelTriple.describe('subtracted from 8-bit RGB'),
      std: channelTriple.describe('divides after that'),
    }),
    latent: shape.describe('C, h, w'),
    features: shape.describe('F, h, w'),
    points: z.array(operatingPoint).min(1).max(256).describe('operating point p = index into this list'),
    defaultPoint: z.int().min(0).describe('operating point of an edge that was told nothing'),
    decoder: graph.describe('symbols (B, C, h, w) int16, point (B) int64 -> features (B, F, h, w)'),
    classifier: graph.describe('features (B, F, h, w) -> logits (B, K)'),
    stem: graph
      .optional()
      .describe('tensor (B, 3, H, W) -> features (B, F, h, w) of the unsplit network, where there is one'),
    exit: z
      .strictObject({
        output: z.string().min(1),
        calibration: exitCalibrations.optional().describe('by encoder: raccoon calibrate --record'),
      })
      .optional()
      .describe('every encoder has this second output: logits (1, K) of the local exit, float32'),
    classes: z.array(z.strictObject({ wnid: z.string(), name: z.string() })).min(2),
    files: z.record(fileName, z.strictObject({ bytes: count, sha256: hex(64) })),
  })
  .describe('Raccoon bundle manifest');

export type Manifest = z.infer<typeof manifestSchema>;
export type OperatingPoint = Manifest['points'][number];
export type MeasuredPoint = z.infer<typeof measured>;
export type MeasuredPrefix = z.infer<typeof prefix>;
/** The arithmetic of an encoder. */
export type Precision = NonNullable<OperatingPoint['precision']>;

/** The manifest's JSON Schema, as published in `manifest.schema.json`. */
export function manifestJsonSchema(): object {
  return z.toJSONSchema(manifestSchema);
}

/**
 * Parses and checks `manifest.json`.
 * @throws BundleError `manifest-syntax`, `manifest-version`, `manifest-schema` (names the first wrong field)
 */
export function parseManifest(json: string, origin: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new BundleError('manifest-syntax', `${origin}/manifest.json is not JSON`, { cause });
  }
  const version = (value as { formatVersion?: unknown } | null)?.formatVersion;
  if (typeof version === 'number' && version !== FORMAT_VERSION) {
    throw new BundleError(
      'manifest-version',
      `${origin} has manifest version ${version}, this program reads ${FORMAT_VERSION}: update the older of the two`,
    );
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new BundleError(
      'manifest-schema',
      `${origin}/manifest.json: ${issue?.path.join('.') || 'manifest'}: ${issue?.message}`,
    );
  }
  const manifest = parsed.data;
  if (manifest.defaultPoint >= manifest.points.length) {
    throw new BundleError(
      'manifest-schema',
      `${origin}/manifest.json: defaultPoint: ${manifest.defaultPoint} of ${manifest.points.length} points`,
    );
  }
  for (const file of referencedFiles(manifest)) {
    if (!Object.hasOwn(manifest.files, file)) {
      throw new BundleError(
        'manifest-schema',
        `${origin}/manifest.json: files: ${file} is used but not listed`,
      );
    }
  }
  return manifest;
}

/** Every file that the manifest's other fields name. */
export function referencedFiles(manifest: Manifest): string[] {
  return [
    ...new Set([
      ...manifest.codecs.map((codec) => codec.tables),
      ...manifest.points.map((point) => point.encoder),
      manifest.decoder.file,
      manifest.classifier.file,
      ...(manifest.stem ? [manifest.stem.file] : []),
    ]),
  ];
}

/** The files that an edge needs: encoders and coding tables. */
export function edgeFiles({ codecs, points }: Manifest): string[] {
  return [...new Set([...codecs.map(({ tables }) => tables), ...points.map(({ encoder }) => encoder)])];
}

/** What people call a point: `n=4 q=2`, or `n=4 q=2 int8`. */
export function pointName({ n, q, precision }: Pick<OperatingPoint, 'n' | 'q' | 'precision'>): string {
  return `n=${n} q=${q}${precision === 'int8' ? ' int8' : ''}`;
}

/**
 * The index p of the operating point (n, q) whose encoder computes in `precision`.
 * @throws BundleError `unknown-point`, listing what there is
 */
export function findPoint(
  manifest: Manifest,
  n: number,
  q: number,
  precision: Precision = 'float32',
): number {
  const { name, points } = manifest;
  const p = points.findIndex(
    (point) => point.n === n && point.q === q && (point.precision ?? 'float32') === precision,
  );
  if (p < 0) {
    throw new BundleError(
      'unknown-point',
      `${name} has no point ${pointName({ n, q, precision })}; it has ${points.map(pointName).join(', ')}`,
    );
  }
  return p;
}

/**
 * The first part of the unsplit network, which an imported bundle may lack.
 * @throws BundleError `no-stem`
 */
export function stemOf({ name, stem }: Manifest): NonNullable<Manifest['stem']> {
  if (stem) return stem;
  throw new BundleError(
    'no-stem',
    `${name} has no unsplit network to compare with: import it with --stem, or leave the comparison out`,
  );
}
