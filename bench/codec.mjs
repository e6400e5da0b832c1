// The bitstream of one image, 48 x 28 x 28 symbols, beside zlib on the same symbols as bytes. The entropy coder alone:
// bench/rans-coder.mjs.
import { deflateSync, inflateSync } from 'node:zlib';
import { decodeBitstream, encodeBitstream } from '@raccoon/codec';
import { RansTables, fromCounts } from '@raccoon/rans-coder';
import { medians } from './median.mjs';
import { random } from '../test/helpers/random.mjs';

const CHANNELS = 48;
const SIDE = 28;
const PLANE = SIDE * SIDE;
const SYMBOLS = CHANNELS * PLANE;

/** Standard deviation of each channel's symbols: from nearly always 0 to widely spread. */
const deviations = Array.from({ length: CHANNELS }, (_, c) => 0.05 * 60 ** (c / (CHANNELS - 1)));

/** The distribution of a Laplace variable, rounded. */
function laplaceTable(std) {
  const reach = Math.max(1, Math.ceil(8 * std));
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) =>
    Math.exp((-Math.SQRT2 * Math.abs(k - reach)) / std),
  );
  return fromCounts(-reach, weights);
}

const codec = {
  id: 'c0dec0c0dec0',
  tables: {
    points: 1,
    channels: CHANNELS,
    gain: new Float32Array(CHANNELS).fill(1),
    median: new Float32Array(CHANNELS),
    tableOf: Uint16Array.from(deviations.keys()),
    tables: RansTables.fromFrequencies(deviations.map(laplaceTable)),
  },
};
const codecs = new Map([[codec.id, codec]]);

const next = random(1);
const symbols = Int16Array.from({ length: SYMBOLS }, (_, i) => {
  const u = next() - 0.5;
  const std = deviations[Math.floor(i / PLANE)];
  return Math.round(-(std / Math.SQRT2) * Math.sign(u) * Math.log(1 - 2 * Math.abs(u)));
});

const shape = { h: SIDE, w: SIDE };
const slices = encodeBitstream(symbols, shape, 0, codec);
const plain = Int8Array.from(symbols);
const deflated = deflateSync(plain);

const ms = await medians({
  encode: () => encodeBitstream(symbols, shape, 0, codec),
  decode: () => decodeBitstream(slices, codecs),
  deflate: () => deflateSync(plain),
  inflate: () => inflateSync(deflated),
});
const row = (name, bytes, reference) => ({
  bytes,
  ms: ms[name].toFixed(3),
  'ns/symbol': ((1e6 * ms[name]) / SYMBOLS).toFixed(1),
  'times zlib': (ms[name] / ms[reference]).toFixed(2),
});
console.log(`codec: ${CHANNELS} x ${SIDE} x ${SIDE} symbols, seeded; medians`);
console.table({
  encodeBitstream: row('encode', slices[0].length, 'deflate'),
  decodeBitstream: row('decode', slices[0].length, 'inflate'),
  'zlib deflate': row('deflate', deflated.length, 'deflate'),
  'zlib inflate': row('inflate', deflated.length, 'inflate'),
});
