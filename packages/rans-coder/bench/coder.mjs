// Symbols a second of every engine and of the native peers, over photos that follow one another.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, encode, engines } from '@raccoon/rans-coder';
import { decodeWithIndexes, encodeWithIndexes } from '@raccoon/rans-coder/compressai';
import { CHANNELS, PHOTOS, PLANE, SYMBOLS, cases } from './cases.mjs';
import { medianMs } from './clock.mjs';
import { runPeers } from './thirdparty/run.mjs';
import { setUp } from './thirdparty/setup.mjs';

const RYG = 'ryg_rans64 x2';
const COMPRESSAI = 'CompressAI';

/** Prints a table for every case. `peers`: the native ones too, which are set up the first time. */
export async function benchCoder({ peers }) {
  if (peers) setUp();
  for (const photos of cases()) {
    const results = engines().flatMap((engine) => [runs(photos, engine), indexed(photos, engine)]);
    results.push(compressai(photos));
    if (peers) results.push(...(await native(photos)));
    print(photos, results);
  }
}

/** One table per channel: what a latent is coded with. */
function runs({ tables, photos }, engine) {
  const indexes = { tables: Uint16Array.from({ length: CHANNELS }, (_, c) => c), length: PLANE };
  return { lanes: true, ...ours(`${engine}, runs`, photos, indexes, tables, engine) };
}

/** An index per symbol, here the channel. */
function indexed({ tables, photos }, engine) {
  const indexes = Uint16Array.from({ length: SYMBOLS }, (_, i) => Math.floor(i / PLANE));
  return { lanes: true, ...ours(`${engine}, indexed`, photos, indexes, tables, engine) };
}

function ours(name, photos, indexes, tables, engine) {
  const out = new Int16Array(SYMBOLS);
  return measured(
    name,
    photos,
    (symbols) => encode(symbols, indexes, tables, { engine }),
    (bytes) => decode(bytes, indexes, tables, { engine, out }),
  );
}

/** CompressAI's format, with its arguments: integers in arrays, an index per symbol. */
function compressai({ distributions, photos }) {
  const indexes = Int32Array.from({ length: SYMBOLS }, (_, i) => Math.floor(i / PLANE));
  const cdfs = distributions.map(({ frequencies }) => {
    const cdf = Int32Array.of(0, ...frequencies);
    for (let k = 1; k < cdf.length; k++) cdf[k] += cdf[k - 1];
    return cdf;
  });
  const sizes = cdfs.map(({ length }) => length);
  const offsets = distributions.map(({ offset }) => offset);
  return measured(
    './compressai',
    photos.map((symbols) => Int32Array.from(symbols)),
    (symbols) => encodeWithIndexes(symbols, indexes, cdfs, sizes, offsets),
    (bytes) => decodeWithIndexes(bytes, indexes, cdfs, sizes, offsets),
  );
}

/** Times are medians of rounds over all photos; bytes are of all photos. */
function measured(name, photos, encodeOne, decodeOne) {
  const streams = photos.map(encodeOne);
  for (const [i, stream] of streams.entries()) {
    const decoded = decodeOne(stream);
    if (photos[i].some((symbol, j) => symbol !== decoded[j]))
      throw new Error(`${name}: the round trip failed`);
  }
  return {
    name,
    encodeMs: medianMs(() => photos.forEach(encodeOne)) / PHOTOS,
    decodeMs: medianMs(() => streams.forEach(decodeOne)) / PHOTOS,
    bytes: streams.reduce((sum, { length }) => sum + length, 0),
    streams,
  };
}

async function native({ name, distributions, photos }) {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-bench-'));
  try {
    const path = join(folder, 'case.json');
    const offsets = distributions.map(({ offset }) => offset);
    const frequencies = distributions.map((distribution) => Array.from(distribution.frequencies));
    const symbols = Buffer.concat(photos.map(({ buffer }) => Buffer.from(buffer))).toString('base64');
    const shape = { photos: PHOTOS, channels: CHANNELS, plane: PLANE };
    writeFileSync(path, JSON.stringify({ name, ...shape, offsets, frequencies, symbols }));
    return (await runPeers(path)).map(({ encodeMsMedian, decodeMsMedian, ...result }) => ({
      ...result,
      encodeMs: encodeMsMedian / PHOTOS,
      decodeMs: decodeMsMedian / PHOTOS,
    }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function print({ name, note, idealBits }, results) {
  const bits = (idealBits / PHOTOS / SYMBOLS).toFixed(3);
  console.log(
    `\n${name}: ${CHANNELS} x ${PLANE} symbols of ${bits} bits, ${PHOTOS} photos (${note}); ` +
      `${(idealBits / 8 / PHOTOS).toFixed(1)} bytes of information a photo`,
  );
  const find = (peer) => results.find((result) => result.name === peer && !result.missing);
  const rows = {};
  for (const result of results) {
    if (result.missing) {
      console.log(`${result.name} is missing: ${result.missing}`);
      continue;
    }
    rows[result.name] = {
      'encode M/s': (SYMBOLS / result.encodeMs / 1e3).toFixed(0),
      'decode M/s': (SYMBOLS / result.decodeMs / 1e3).toFixed(0),
      'encode ms': result.encodeMs.toFixed(3),
      'decode ms': result.decodeMs.toFixed(3),
      bytes: (result.bytes / PHOTOS).toFixed(1),
      'over %': percentOver(8 * result.bytes, idealBits),
      'without flush %': result.lanes ? percentOver(bitsWithoutFlush(result.streams), idealBits) : '-',
      [`x ${RYG}`]: times(result, find(RYG)),
      [`x ${COMPRESSAI}`]: times(result, find(COMPRESSAI)),
    };
  }
  console.table(rows);
}

/** How many times as fast as a peer, encoding and decoding. */
function times(result, peer) {
  if (peer === undefined) return '-';
  return `${(peer.encodeMs / result.encodeMs).toFixed(2)} / ${(peer.decodeMs / result.decodeMs).toFixed(2)}`;
}

function percentOver(bits, ideal) {
  return (100 * (bits / ideal - 1)).toFixed(4).replace('-0.0000', '0.0000');
}

/** What streams hold: the bytes that were pushed, and of each last state x what it says, log2(x / 2^23) bits. */
function bitsWithoutFlush(streams) {
  let bits = 0;
  for (const stream of streams) {
    const view = new DataView(stream.buffer, stream.byteOffset, stream.length);
    let end = stream.length;
    for (let more = true; more;) {
      end -= 4;
      const word = view.getUint32(end, true);
      more = word >= 2 ** 31;
      bits += Math.log2(word % 2 ** 31) - 23;
    }
    bits += 8 * end;
  }
  return bits;
}
