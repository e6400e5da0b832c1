// What skipping runs of zeros saves and costs on latents of the shipped bundle: node bench/significance.mjs [FOLDER]
//
// FOLDER has JPEGs, in folders or not, such as the one that imagenet20's unpack.sh makes of its val photos; by default the sample
// photos. The bundle's encoders run on up to 96 of them; gains are scaled down to rates that the bundle does not have. Tables are
// counted on every other photo; bytes and times are of the rest.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openBundle } from '@raccoon/bundle/node';
import { toTensor } from '@raccoon/edge';
import { readPixels } from '@raccoon/edge/node';
import { RansTables, decode, encode, fromCounts } from '@raccoon/rans-coder';
import * as ort from 'onnxruntime-node';
import { medianMs } from '../packages/rans-coder/bench/clock.mjs';

const PHOTOS = 96;
const GAINS = [1, 0.7, 0.5, 0.35, 0.25];

const folder = process.argv[2] ?? fileURLToPath(new URL('../samples', import.meta.url));
const bundle = await openBundle('imagenet1k-mobilenet');
const { input, latent, points } = bundle.manifest;
const { channels } = latent;
const plane = latent.height * latent.width;
const paths = photosIn(folder);
console.log(
  `${paths.length} photos, ${channels} x ${latent.height} x ${latent.width}; bytes and ms are means of a photo`,
);

const rows = {};
for (const [point, { n, q, encoder }] of points.entries()) {
  if (q !== 0) continue;
  const latents = await latentsOf(paths, encoder);
  for (const gain of GAINS) {
    const symbols = latents.map((values) => quantised(values, point, gain));
    const { bpp, row } = compared(symbols);
    rows[`n=${n}, gain x ${gain}, ${bpp.toFixed(3)} bpp`] = row;
  }
}
console.table(rows);

/** As many photos as we take, evenly from all of them. */
function photosIn(path) {
  const all = readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.jpe?g$/i.test(name))
    .toSorted();
  if (all.length < 2) throw new Error(`${path} has ${all.length} photos; it needs 2 or more`);
  const count = Math.min(PHOTOS, all.length);
  return Array.from({ length: count }, (_, i) => join(path, all[Math.floor((i * all.length) / count)]));
}

async function latentsOf(photos, encoder) {
  const session = await ort.InferenceSession.create(await bundle.read(encoder));
  const latents = [];
  for (const photo of photos) {
    const tensor = toTensor(await readPixels(photo, input), input);
    const feeds = {
      [session.inputNames[0]]: new ort.Tensor('float32', tensor, [1, 3, input.height, input.width]),
    };
    latents.push((await session.run(feeds))[session.outputNames[0]].data);
  }
  await session.release();
  return latents;
}

/** Symbols at `gain` times the gains of an operating point. */
function quantised(values, point, gain) {
  const { tables } = bundle.codec;
  return Int16Array.from(values, (value, i) => {
    const cell = point * channels + Math.floor(i / plane);
    return Math.round(gain * tables.gain[cell] * (value - tables.median[cell]));
  });
}

/**
 * Flags before runs (what the coder does), nothing, and a bitmap of the channels that are all zero. The code with an index per
 * symbol has no flags: it is "nothing", and what codes the live channels behind a bitmap.
 */
function compared(all) {
  const fit = all.filter((_, i) => i % 2 === 0);
  const photos = all.filter((_, i) => i % 2 === 1);
  const tables = RansTables.fromFrequencies(
    Array.from({ length: channels }, (_, c) => distributionOf(fit, c)),
  );
  const every = Array.from({ length: channels }, (_, c) => c);
  const live = photos.map((symbols) =>
    every.filter((c) => channel(symbols, c).some((symbol) => symbol !== 0)),
  );

  const runs = { tables: Uint16Array.from(every), length: plane };
  const flags = measured(photos, () => runs, tables);
  const indexes = indexesOf(every);
  const nothing = measured(photos, () => indexes, tables);
  const liveIndexes = live.map(indexesOf);
  const liveSymbols = photos.map((symbols, i) => only(symbols, live[i]));
  const bitmap = measured(liveSymbols, (i) => liveIndexes[i], tables);

  const liveRows = photos.flatMap((symbols, i) => live[i].flatMap((c) => rowsOf(symbols, c)));
  return {
    bpp: (8 * flags.bytes) / (input.width * input.height),
    row: {
      'channels all zero': share(photos.length * channels - live.flat().length, photos.length * channels),
      'rows zero in others': share(
        liveRows.filter((row) => row.every((s) => s === 0)).length,
        liveRows.length,
      ),
      'flags: bytes': flags.bytes.toFixed(1),
      'nothing: bytes': nothing.bytes.toFixed(1),
      'bitmap: bytes': (bitmap.bytes + channels / 8).toFixed(1),
      'flags: ms': pair(flags),
      'nothing: ms': pair(nothing),
      'bitmap: ms': pair(bitmap),
    },
  };
}

function distributionOf(photos, c) {
  const lists = photos.map((symbols) => channel(symbols, c));
  const least = Math.min(-1, ...lists.map((list) => Math.min(...list)));
  const most = Math.max(1, ...lists.map((list) => Math.max(...list)));
  const counts = Array.from({ length: most - least + 1 }, () => 0.3);
  for (const list of lists) for (const symbol of list) counts[symbol - least]++;
  return fromCounts(least, counts);
}

function channel(symbols, c) {
  return symbols.subarray(c * plane, (c + 1) * plane);
}

function rowsOf(symbols, c) {
  return Array.from({ length: latent.height }, (_, y) =>
    channel(symbols, c).subarray(y * latent.width, (y + 1) * latent.width),
  );
}

function only(symbols, kept) {
  const result = new Int16Array(kept.length * plane);
  for (const [i, c] of kept.entries()) result.set(channel(symbols, c), i * plane);
  return result;
}

function indexesOf(kept) {
  return Uint16Array.from({ length: kept.length * plane }, (_, i) => kept[Math.floor(i / plane)]);
}

/** Mean bytes, and ms for all photos one after the other, divided by their number. */
function measured(photos, indexes, tables) {
  const streams = photos.map((symbols, i) => encode(symbols, indexes(i), tables));
  const outs = photos.map(({ length }) => new Int16Array(length));
  const encodeAll = () => photos.forEach((symbols, i) => encode(symbols, indexes(i), tables));
  const decodeAll = () => streams.forEach((bytes, i) => decode(bytes, indexes(i), tables, { out: outs[i] }));
  return {
    bytes: streams.reduce((sum, { length }) => sum + length, 0) / photos.length,
    encodeMs: medianMs(encodeAll) / photos.length,
    decodeMs: medianMs(decodeAll) / photos.length,
  };
}

function share(count, of) {
  return `${((100 * count) / of).toFixed(0)} %`;
}

function pair({ encodeMs, decodeMs }) {
  return `${encodeMs.toFixed(3)} / ${decodeMs.toFixed(3)}`;
}
