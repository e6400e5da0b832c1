import { BundleError, pointName, type Manifest, type Precision } from '@raccoon/bundle';
import type { EncoderChoice } from './policy.ts';

/** What the user has fixed of (n, q, precision); the rest is open. */
export interface Pins {
  readonly blocks?: number | undefined;
  readonly rate?: number | undefined;
  readonly precision?: Precision | undefined;
}

/** An operating point that a policy may choose, and what the bundle says of it. */
export interface Candidate {
  /** Index into the manifest's points. */
  readonly point: number;
  readonly n: number;
  readonly q: number;
  readonly precision: Precision;
  /** Bytes of a mean image's bitstream. */
  readonly bytes: number;
  /** Accuracy of the cloud's answer, percent. */
  readonly top1: number;
  /** Of the local exit's, percent; 0 without an exit, or where nobody measured it. */
  readonly exitTop1: number;
  /** Multiply-accumulates of the encoder for one image. */
  readonly edgeMacs: number;
}

/**
 * The points that fit what the user has fixed, in the manifest's order. Bytes and accuracy are the measured ones; a bundle
 * that nobody measured is taken at its word (`expectedBpp`), and a higher rate or a deeper encoder as the better one.
 * @throws BundleError `unknown-point` if there is none
 */
export function candidatesOf(manifest: Manifest, { blocks, rate, precision }: Pins): Candidate[] {
  const { name, points, input } = manifest;
  const candidates = points.flatMap(
    ({ n, q, precision: arithmetic = 'float32', edgeMacs, expectedBpp, measured }, point): Candidate[] =>
      fits(blocks, n) && fits(rate, q) && fits(precision, arithmetic)
        ? [
            {
              point,
              n,
              q,
              precision: arithmetic,
              bytes: ((measured?.payloadBpp ?? expectedBpp) * input.width * input.height) / 8,
              top1: measured?.top1 ?? unmeasuredTop1(n, q),
              exitTop1: manifest.exit ? (measured?.exitTop1 ?? 0) : 0,
              edgeMacs,
            },
          ]
        : [],
  );
  if (candidates.length > 0) return candidates;
  throw new BundleError(
    'unknown-point',
    `${name} has no such point; it has ${points.map(pointName).join(', ')}`,
  );
}

/** The encoders of some points, each once, in their order. */
export function encodersOf(candidates: readonly Candidate[]): EncoderChoice[] {
  return candidates
    .filter((one, i) => candidates.findIndex((other) => sameEncoder(one, other)) === i)
    .map(({ n, precision }) => ({ n, precision }));
}

export function sameEncoder(one: EncoderChoice, other: EncoderChoice): boolean {
  return one.n === other.n && one.precision === other.precision;
}

/** Nothing wanted, or this. */
const fits = <T>(wanted: T | undefined, value: T): boolean => wanted === undefined || wanted === value;

/** A place in the order, not an accuracy: rates and depths are exported from worse to better. */
const unmeasuredTop1 = (n: number, q: number): number => 50 + 5 * (1 - 1 / (1 + q)) + (1 - 1 / (1 + n));
