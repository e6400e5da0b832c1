// What is measured: latents of 64 channels x 28 x 28, each channel with its distribution, and photos drawn from them.
import { readFileSync } from 'node:fs';
import { RansTables, fromProbabilities, parseTables } from '@raccoon/rans-coder';

export const CHANNELS = 64;
export const PLANE = 28 * 28;
export const SYMBOLS = CHANNELS * PLANE;
/** Different photos, one after the other: a branch predictor learns a photo that is coded again and again. */
export const PHOTOS = 16;

const BUNDLE = new URL('../../../bundles/imagenet1k-mobilenet/', import.meta.url);
const SEED = 1;

/**
 * @typedef {object} Photos
 * @property {string} name
 * @property {string} note
 * @property {import('@raccoon/rans-coder').Distribution[]} distributions one for each channel
 * @property {RansTables} tables of them
 * @property {Int16Array[]} photos (C, h, w) each
 * @property {number} idealBits what the photos hold under the tables, in all
 */

/**
 * The deepest encoder of the shipped bundle at its highest, default and lowest rate, and every channel full of symbols.
 * @returns {Photos[]}
 */
export function cases() {
  const { name, version, points, defaultPoint } = JSON.parse(
    readFileSync(new URL('manifest.json', BUNDLE), 'utf8'),
  );
  const distributions = bundleDistributions();
  const at = (rate, point) => {
    const { n, q, expectedBpp } = points[point];
    return photosOf(rate, `${name} ${version}, n=${n} q=${q}, ${expectedBpp} bpp`, distributions[point]);
  };
  const highest = points.length - 1;
  return [
    at('high', highest),
    at('middle', defaultPoint),
    at('low', highest - points[highest].q),
    photosOf('dense', 'Laplace, deviations 0.5 to 4', dense()),
  ];
}

/**
 * (points, 64) the bundle's distributions; its 48 channels are spread over ours. Read here, as this package imports no other:
 * docs/bitstream.md, "Tables".
 */
export function bundleDistributions() {
  const bytes = readFileSync(new URL('tables.bin', BUNDLE));
  const points = bytes[5];
  const channels = bytes.readUInt16LE(6);
  const tableOf = 8 + 8 * points * channels; // behind gains and medians
  const tables = parseTables(bytes.subarray(tableOf + 2 * points * channels));
  const result = [];
  for (let point = 0; point < points; point++) {
    const of = (c) =>
      bytes.readUInt16LE(tableOf + 2 * (point * channels + Math.floor((c * channels) / CHANNELS)));
    result.push(Array.from({ length: CHANNELS }, (_, c) => tables.distribution(of(c))));
  }
  return result;
}

/** The distribution of `scale` times a variable, a symbol's probability spread evenly over its interval. */
export function scaleDistribution({ offset, frequencies }, scale) {
  const symbols = frequencies.length - 1;
  const first = Math.round(offset * scale) - 1;
  const last = Math.round((offset + symbols - 1) * scale) + 1;
  const mass = Array.from({ length: last - first + 1 }, () => 0);
  for (let k = 0; k < symbols; k++) {
    const from = (offset + k - 0.5) * scale;
    const to = (offset + k + 0.5) * scale;
    for (let s = Math.round(from); s <= Math.round(to); s++) {
      const overlap = Math.min(to, s + 0.5) - Math.max(from, s - 0.5);
      if (overlap > 0) mass[s - first] += (frequencies[k] / 65536) * (overlap / (to - from));
    }
  }
  return fromProbabilities(first, mass);
}

function dense() {
  return Array.from({ length: CHANNELS }, (_, c) => laplace(0.5 * 8 ** (c / (CHANNELS - 1))));
}

function laplace(deviation) {
  const reach = Math.ceil(8 * deviation);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) =>
    Math.exp((-Math.SQRT2 * Math.abs(k - reach)) / deviation),
  );
  const sum = weights.reduce((a, b) => a + b);
  return fromProbabilities(
    -reach,
    weights.map((weight) => weight / sum),
  );
}

function photosOf(name, note, distributions) {
  const random = mulberry32(SEED);
  const draw = distributions.map(sampler);
  const photo = () => Int16Array.from({ length: SYMBOLS }, (_, i) => draw[Math.floor(i / PLANE)](random));
  const photos = Array.from({ length: PHOTOS }, photo);
  const tables = RansTables.fromFrequencies(distributions);
  const bits = (symbols) =>
    symbols.reduce((sum, symbol, i) => sum + tables.bits(Math.floor(i / PLANE), symbol), 0);
  const idealBits = photos.reduce((sum, symbols) => sum + bits(symbols), 0);
  return { name, note, distributions, tables, photos, idealBits };
}

/** Draws symbols of a distribution; never the escape, which two of the peers do not have. */
function sampler({ offset, frequencies }) {
  const symbolOf = new Int16Array(65536 - frequencies[frequencies.length - 1]);
  let at = 0;
  for (let k = 0; k < frequencies.length - 1; k++) {
    symbolOf.fill(offset + k, at, at + frequencies[k]);
    at += frequencies[k];
  }
  return (random) => symbolOf[Math.floor(random() * symbolOf.length)];
}

/** Mulberry32 (Ettinger 2017, public domain): seeded numbers in [0, 1). */
function mulberry32(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
