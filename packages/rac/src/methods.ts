import type { Bundle, Manifest } from '@raccoon/bundle';
import { openImageWay, openLatentWay, openOriginalWay, openStemWay, openUnsplitWay } from './baselines.ts';
import { EFFORTS, IMAGE_FORMATS, type ImageCodec } from './codecs.ts';
import type { Way } from './evaluate.ts';
import { openPointWay, type PointWay } from './point-way.ts';
import { RAW_TYPES, ZSTD_LEVELS, type RawType } from './raw.ts';
import type { ResultRow } from './results.ts';

/** How photos travel in one row of results, and what was done to them before. */
export type Method =
  /** Operating point `point` of the bundle, with its local exit or without; through a socket, or to a cloud in the same process. */
  (
    | { kind: 'point'; point: number; exit?: boolean; inProcess?: boolean }
    /** The whole network on the edge. */
    | { kind: 'unsplit' }
    /** The photo's file as it is, the whole network in the cloud; */
    | { kind: 'original' }
    /** an image codec's file of it; */
    | ({ kind: 'image' } & ImageCodec)
    /** features where the network was split; */
    | { kind: 'stem'; type: RawType; level: number }
    /** the latent of the deepest encoder. */
    | { kind: 'latent'; type: RawType; level: number }
  ) & {
    /** Standard deviation of the noise on photos, values from 0 to 1; absent: none. */
    noise?: number | undefined;
  };

/** Whose file or features need the unsplit network to be classified. */
export const needsStem = ({ kind }: Method): boolean => kind !== 'point' && kind !== 'latent';

/**
 * `jpeg:10,20`, `webp:5,20@effort=6`, `stem-int8`, `latent-float32@effort=9` or `original`.
 * @throws RangeError that says what there is
 */
export function parseBaseline(text: string): Method[] {
  const [, name = '', qualities, effort] = /^([a-z0-9-]+)(?::([\d,]+))?(?:@effort=(\d+))?$/.exec(text) ?? [];
  if (name === 'original' && qualities === undefined && effort === undefined) return [{ kind: 'original' }];
  const format = IMAGE_FORMATS.find((one) => one === name);
  if (format && qualities !== undefined) {
    const chosen = within(effort, 0, EFFORTS[format], text);
    return qualities.split(',').map((quality) => ({
      kind: 'image',
      format,
      quality: within(quality, 1, { usual: 75, most: 100 }, text),
      effort: chosen,
    }));
  }
  const [kind, type] = name.split('-');
  const raw = RAW_TYPES.find((one) => one === type);
  if ((kind === 'stem' || kind === 'latent') && raw && qualities === undefined) {
    return [{ kind, type: raw, level: within(effort, 1, ZSTD_LEVELS, text) }];
  }
  throw new RangeError(
    `${text} is no baseline: it must be like jpeg:10,20, webp:5,20@effort=6, avif:20,40, stem-int8, stem-float32, latent-int8, latent-float32 or original`,
  );
}

function within(
  text: string | undefined,
  least: number,
  { usual, most }: { usual: number; most: number },
  whole: string,
): number {
  const value = text === undefined ? usual : Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(`${whole}: ${text} is not a whole number from ${least} to ${most}`);
}

/** What a row is called. */
export type RowLabel = Pick<ResultRow, 'method' | 'series' | 'point' | 'settings'>;

/** @param name of the bundle's own method; default: what its manifest says (`provenance.method`), or `raccoon` */
export function labelOf(manifest: Manifest, method: Method, name: string = methodOf(manifest)): RowLabel {
  const label = cleanLabelOf(manifest, method, name);
  return method.noise ? { ...label, settings: { ...label.settings, noise: method.noise } } : label;
}

function cleanLabelOf(manifest: Manifest, method: Method, name: string): RowLabel {
  switch (method.kind) {
    case 'point': {
      const { points } = manifest;
      const { n, q, precision = 'float32' } = points[method.point]!;
      const settings = {
        n,
        q,
        precision,
        ...(method.exit && { exit: true }),
        ...(method.inProcess && { inProcess: true }),
      };
      // a network of its own for every rate: what is different is the bundle
      if (points.length === 1) return { method: name, series: name, point: manifest.name, settings };
      const series = `${name} n=${n}${precision === 'int8' ? ' int8' : ''}`;
      return { method: name, series, point: `q=${q}`, settings };
    }
    case 'unsplit':
      return plain('unsplit-edge', 'whole network on the edge');
    case 'original':
      return plain('unsplit-cloud', 'the photo as it is');
    case 'image': {
      const { format, quality, effort } = method;
      return {
        method: format,
        series: `${format} effort=${effort}`,
        point: `quality=${quality}`,
        settings: { quality, effort },
      };
    }
    default: {
      const { kind, type, level } = method;
      const settings = { of: kind, type, zstdLevel: level };
      return { method: `raw-${type}`, series: `raw-${type} ${kind}`, point: `zstd ${level}`, settings };
    }
  }
}

const plain = (name: string, point: string): RowLabel => ({
  method: name,
  series: name,
  point,
  settings: {},
});

function methodOf({ provenance: { method } }: Manifest): string {
  return typeof method === 'string' && method !== '' ? method : 'raccoon';
}

export interface WayOptions {
  /** Of the edge's networks, and of a baseline's cloud. */
  threads?: number;
  /** `host:port` of a cloud, for operating points that have one. */
  cloud?: string | undefined;
}

/** @throws BundleError `no-stem`, Error: an exit that the bundle does not have */
export async function openWay(
  bundle: Bundle,
  method: Method,
  { threads, cloud }: WayOptions,
): Promise<Way | PointWay> {
  switch (method.kind) {
    case 'point': {
      const { point, exit = false, inProcess } = method;
      return openPointWay(bundle, point, {
        cloud: inProcess ? undefined : cloud,
        exit,
        ...(threads !== undefined && { threads }),
      });
    }
    case 'unsplit':
      return openUnsplitWay(bundle, threads);
    case 'original':
      return openOriginalWay(bundle, threads);
    case 'image':
      return openImageWay(bundle, method, threads);
    case 'stem':
      return openStemWay(bundle, method.type, method.level, threads);
    default: // the latent
      return openLatentWay(bundle, deepest(bundle.manifest), method.type, method.level, threads);
  }
}

/** The highest rate of the encoder with the most blocks, in float32. */
function deepest({ points }: Manifest): number {
  const rank = (p: number): number => {
    const { n, q, precision } = points[p]!;
    return 1000 * n + q - (precision === 'int8' ? 1e9 : 0);
  };
  return [...points.keys()].reduce((best, p) => (rank(p) > rank(best) ? p : best));
}
