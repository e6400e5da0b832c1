// Writes the golden vectors beside this file. Run by hand, from the repository's root, and only when the format changes:
//
//     npx tsc --build packages/codec && node test/vectors/generate.mjs
//
// Good cases come from the TypeScript coder, so they are only as right as it is: rans.json's are also checked against a
// naive coder in packages/rans-coder, and every case against the Python reference coder. Bad cases are made by hand.
import { writeFileSync } from 'node:fs';
import {
  CodecError,
  codecId,
  encodeBitstream,
  parseTables,
  quantise,
  serialiseTables,
  writeRac,
} from '@raccoon/codec';
import { RansTables, encode } from '@raccoon/rans-coder';
import { crc32c } from '../../packages/codec/dist/crc32c.js';

const LATENT_SPACE_ID = '000102030405060708090a0b0c0d0e0f';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const bytes = (text) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

/** A linear congruential generator (Numerical Recipes), in [0, 1). */
function random(seed) {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** A Laplace variable of standard deviation `std`. */
function laplace(std, next) {
  const u = next() - 0.5;
  return -(std / Math.SQRT2) * Math.sign(u) * Math.log(1 - 2 * Math.abs(u));
}

/** A table for integers of about that deviation. */
function laplaceTable(std) {
  const reach = Math.max(1, Math.ceil(6 * std));
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) =>
    Math.exp((-Math.abs(k - reach) * Math.SQRT2) / std),
  );
  const sum = weights.reduce((a, b) => a + b);
  const frequencies = [...weights, 0].map(
    (weight) => 1 + Math.floor((weight / sum) * (65536 - weights.length - 1)),
  );
  frequencies[reach] += 65536 - frequencies.reduce((a, b) => a + b);
  return { offset: -reach, frequencies };
}

// ---- rans.json ----

const ransTables = [
  { offset: -1, frequencies: [0x2000, 0xa000, 0x3000, 0x1000] },
  { offset: 0, frequencies: [65535, 1] },
  { offset: 0, frequencies: [1, 65535] },
  laplaceTable(2),
  { offset: 1, frequencies: [32768, 32768] },
];

function ransVectors() {
  const pool = RansTables.fromFrequencies(ransTables);
  const next = random(1);
  const long = Array.from({ length: 300 }, () => Math.round(laplace(2.5, next)));
  const good = [
    ['no symbols', [], []],
    ['one symbol', [0], [0]],
    ['every symbol of a table', [-1, 0, 1], [0, 0, 0]],
    ['an escape without digits', [0], [4]],
    ['the smallest int32', [-(2 ** 31)], [0]],
    ['the largest int32', [2 ** 31 - 1], [0]],
    ['escapes of 1/65536', [1, -1], [1, 1]],
    ['almost free symbols', Array(100).fill(0), Array(100).fill(1)],
    ['escapes only', Array.from({ length: 32 }, (_, i) => (i % 2 ? -1 : 1) * 2 ** i), Array(32).fill(2)],
    ['three tables in one stream', [0, 1, -5, 0], [0, 1, 2, 0]],
    ['300 symbols', long, long.map(() => 3)],
  ].map(([name, symbols, indexes]) => ({
    name,
    symbols: symbols.map((symbol) => symbol | 0),
    indexes,
    bytes: hex(encode(Int32Array.from(symbols), Uint16Array.from(indexes), pool)),
  }));
  const bad = [
    ['truncated', 'no bytes', '', []],
    ['truncated', 'not even a state', '000001', []],
    ['truncated', 'half a word', '0000010000', [2]],
    ['initial-state', 'a state below 65536', 'ffff0000', []],
    ['index-out-of-range', 'a table that is not there', '00800100', [5]],
    ['escape-length', 'nine digits', '1a001000', [2]],
    ['escape-not-shortest', 'one digit, zero', '02010001', [2]],
    ['escape-not-shortest', 'a symbol that the table has', '11001000', [2]],
    ['trailing-bytes', 'a word too many', '008001000000', [0]],
    ['trailing-bytes', 'a byte too many', '0080010000', [0]],
    ['final-state', 'a stream of another table', '00800100', [1]],
    ['final-state', 'a symbol too few', '00800100', []],
  ].map(([code, name, text, indexes]) => ({ name, code, indexes, bytes: text }));
  return { tables: ransTables, good, bad };
}

// ---- tables.json ----

const small = {
  points: 2,
  channels: 3,
  gain: [1, 2, 0.5, 4, 1, 1],
  median: [0, -1, 0.25, 0, 0, 0],
  tableOf: [0, 1, 0, 1, 1, 2],
  tables: ransTables.slice(0, 3),
};

/** Eight channels of falling deviation, at three rates. */
function modelLike() {
  const next = random(2);
  const tables = [0.05, 0.2, 0.5, 1, 2.2, 5].map(laplaceTable);
  const cells = Array.from({ length: 24 }, (_, i) => i);
  return {
    points: 3,
    channels: 8,
    gain: cells.map((i) => Math.fround(0.5 * 2 ** Math.floor(i / 8) * (1 + next()))),
    median: cells.map(() => Math.fround(0.2 * (next() - 0.5))),
    tableOf: cells.map((i) => Math.max(0, Math.min(5, 3 + Math.floor(i / 8) - Math.floor((i % 8) / 2)))),
    tables,
  };
}

function binaryOf(t) {
  return serialiseTables({
    ...t,
    gain: Float32Array.from(t.gain),
    median: Float32Array.from(t.median),
    tableOf: Uint16Array.from(t.tableOf),
    tables: RansTables.fromFrequencies(t.tables),
  });
}

async function tablesVectors() {
  const good = [];
  for (const [name, fields] of [
    ['small', small],
    ['model-like', modelLike()],
  ]) {
    const binary = binaryOf(fields);
    good.push({
      name,
      latentSpaceId: LATENT_SPACE_ID,
      tablesBin: hex(binary),
      codecId: await codecId(binary, LATENT_SPACE_ID),
      ...fields,
    });
  }
  const binary = binaryOf({
    ...small,
    points: 1,
    channels: 1,
    gain: [1],
    median: [0],
    tableOf: [0],
    tables: [ransTables[0]],
  });
  /** The smallest tables.bin with some bytes replaced. */
  const patched = (at, text) => {
    const copy = binary.slice();
    copy.set(bytes(text), at);
    return copy;
  };
  const bad = [
    ['tables-magic', 'no bytes', new Uint8Array(0)],
    ['tables-magic', 'another magic', patched(0, '52544143')],
    ['tables-length', 'the magic alone', binary.slice(0, 4)],
    ['tables-version', 'version 1', patched(4, '01')],
    ['tables-header', 'no points', patched(5, '00')],
    ['tables-header', 'no channels', patched(6, '0000')],
    ['tables-header', '256 channels', patched(6, '0001')],
    ['tables-header', 'no tables', patched(8, '0000')],
    ['tables-header', 'reserved bytes set', patched(10, '0100')],
    ['tables-length', 'more points than bytes', patched(5, 'ff')],
    ['tables-length', 'more tables than bytes', patched(8, 'ffff')],
    ['tables-length', 'a table longer than the file', patched(24, 'ffff')],
    ['tables-length', 'a byte missing', binary.slice(0, -1)],
    ['tables-length', 'a byte too many', Uint8Array.of(...binary, 0)],
    ['tables-value', 'gain 0', patched(12, '00000000')],
    ['tables-value', 'gain -1', patched(12, '000080bf')],
    ['tables-value', 'gain infinite', patched(12, '0000807f')],
    ['tables-value', 'gain not a number', patched(12, '0000c07f')],
    ['tables-value', 'median not a number', patched(16, '0000c07f')],
    ['tables-value', 'a table that is not there', patched(20, '0100')],
    ['tables-distribution', 'frequencies that sum to 65535', patched(26, 'ff1f')],
    ['tables-distribution', 'frequencies that sum to 65537', patched(26, '0120')],
    ['tables-distribution', 'a zero frequency', patched(26, '0000 00c0')],
    ['tables-distribution', 'symbols beyond int16', patched(22, 'fe7f')],
    ['tables-distribution', 'the escape alone', Uint8Array.of(...patched(24, '0100').slice(0, 26), 0, 0)],
  ].map(([code, name, binary_]) => ({ name, code, tablesBin: hex(binary_) }));
  return { good, bad };
}

// ---- quantise.json ----

const floats = (count, make) => Array.from({ length: count }, (_, i) => Math.fround(make(i)));

function quantiseVectors() {
  const next = random(3);
  const tenth = Math.fround(0.1);
  const third = Math.fround(1 / 3);
  /** Latents beside a tie that float32 arithmetic rounds to another symbol than float64 does. */
  const hard = floats(2000, (i) => (i - 1000 + 0.5) / tenth + third).filter((x) => {
    const narrow = Math.fround(tenth * Math.fround(x - third));
    const wide = tenth * (x - third);
    const tieToEven = 2 * Math.round(narrow / 2);
    return Math.abs(narrow % 1) === 0.5 && Math.abs(wide % 1) !== 0.5 && Math.round(wide) !== tieToEven;
  });
  const good = [
    ['ties go to even', 1, 0, [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]],
    ['next to ties', 1, 0, [0.49999997, 0.50000006, 1.4999999, 1.5000001, 2.4999998, 2.5000002, -0.50000006]],
    ['ties after gain and median', 0.25, 1, [-5, -1, 3, 7, 11, 15, 2.9999998, 3.0000002]],
    ['ties in float32 that float64 tells apart', tenth, third, hard.filter((_, i) => i % 16 === 0)],
    ['any latents', Math.fround(3.7), Math.fround(-0.21), floats(200, () => laplace(3, next))],
    ['the ends of int16', 1, 0, [32767, 32767.498, -32768, -32768.5]],
    ['zeros of both signs', 1, 0, [0, -0, 1e-45, -1e-45]],
  ];
  const bad = [
    ['beyond the largest int16', 1, 0, [32767.5]],
    ['beyond the smallest int16', 1, 0, [-32768.504]],
    ['far beyond', Math.fround(1e30), 0, [Math.fround(1e30)]],
    ['infinite', 1, 0, [Infinity]],
    ['minus infinite', 1, 0, [-Infinity]],
    ['not a number', 1, 0, [NaN]],
  ];
  return { good: good.map(quantiseVector), bad: bad.map(quantiseVector) };
}

function quantiseVector([name, gain, median, latents]) {
  const latent = Float32Array.from(latents);
  const one = { ...small, points: 1, channels: 1, gain: [gain], median: [median], tableOf: [0] };
  const head = { name, gain, median, latentFloat32: hex(new Uint8Array(latent.buffer)) };
  try {
    return { ...head, symbols: [...quantise(latent, latent.length, 0, parseTables(binaryOf(one)))] };
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    return { ...head, code: error.code };
  }
}

// ---- bitstream.json ----

/** A first slice from the literal bytes of its fields (12) and words, with the checksum that they need. */
function firstSlice(fields, words) {
  return slice(fields, words, 0);
}

/** A later slice of the image whose first slice is `first`. */
function laterSlice(fields, words, first) {
  return slice(fields, words, new DataView(first.buffer).getUint32(12, true));
}

function slice(fields, words, seed) {
  const checksum = new Uint8Array(4);
  const [head, tail] = [bytes(fields), bytes(words)];
  new DataView(checksum.buffer).setUint32(0, crc32c(tail, crc32c(head, seed)), true);
  return Uint8Array.of(...head, ...checksum, ...tail);
}

function bitstreamVectors(codecs) {
  const loaded = codecs.map(({ name, codecId: id, tablesBin }) => ({
    name,
    id,
    tables: parseTables(bytes(tablesBin)),
  }));
  const [tiny, model] = loaded;
  const next = random(4);
  const values = (channels, plane, std) =>
    Array.from({ length: channels * plane }, (_, i) => Math.round(laplace(std(Math.floor(i / plane)), next)));
  const good = [
    ['one symbol a channel', tiny, 0, 1, 1, [3], [0, 0, 0]],
    ['escapes in every channel', tiny, 1, 1, 2, [3], [-32768, 32767, 0, 5, -1, 1]],
    ['one slice a channel', tiny, 1, 2, 3, [1, 2, 3], values(3, 6, () => 1)],
    ['an image of zeros', model, 0, 8, 8, [8], Array(512).fill(0)],
    ['one slice', model, 0, 8, 8, [8], values(8, 64, (c) => 1 / (1 + c))],
    ['four slices', model, 1, 8, 8, [1, 2, 5, 8], values(8, 64, (c) => 2 / (1 + c))],
    ['two slices, not square', model, 2, 3, 11, [4, 8], values(8, 33, (c) => 5 / (1 + c))],
    ['the longest row', model, 2, 1, 255, [8], values(8, 255, (c) => 5 / (1 + c))],
  ].map(([name, codec, point, h, w, channelEnds, list]) => {
    const symbols = list.map((symbol) => symbol | 0);
    const slices = encodeBitstream(Int16Array.from(symbols), { h, w }, point, codec, { channelEnds });
    return {
      name,
      codec: codec.name,
      point,
      h,
      w,
      channelEnds,
      symbols,
      slices: slices.map(hex),
      rac: hex(writeRac(slices)),
    };
  });

  // Three channels of one symbol 0, which `first` holds all: version, codec, point, h, w, slice, channel end; words.
  const words = '00800100'; // a symbol 0 of table 0
  const allWords = hex(encode(new Int16Array(3), Uint16Array.of(0, 1, 0), tiny.tables.tables));
  const id = tiny.id;
  const whole = firstSlice(`00 ${id} 00 01 01 01 03`, allWords);
  const damaged = whole.slice();
  damaged[damaged.length - 1] ^= 1;
  const first = firstSlice(`00 ${id} 00 01 01 02 01`, words); // the first of two slices
  const rest = hex(encode(new Int16Array(2), Uint16Array.of(1, 0), tiny.tables.tables));
  const second = laterSlice('00 12 03 00', rest, first);
  const other = firstSlice(
    `00 ${id} 00 01 01 02 01`,
    hex(encode(Int16Array.of(1), Uint16Array.of(0), tiny.tables.tables)),
  );
  const later = (fields) => [first, laterSlice(fields, rest, first)];
  const bad = [
    ['slice-count', 'no slices', []],
    ['slice-count', 'five slices', [first, second, second, second, second]],
    ['slice-count', 'more slices than the header says', [whole, laterSlice('00 12 03 00', rest, whole)]],
    ['slice-count', 'a header that says none', [firstSlice(`00 ${id} 00 01 01 00 03`, allWords)]],
    ['slice-count', 'a header that says five', [firstSlice(`00 ${id} 00 01 01 05 03`, allWords)]],
    ['truncated', 'no bytes', [new Uint8Array(0)]],
    ['truncated', 'half a header', [whole.slice(0, 15)]],
    ['truncated', 'half a later header', [first, second.slice(0, 7)]],
    ['version', 'version 1', [firstSlice(`10 ${id} 00 01 01 01 03`, allWords)]],
    ['version', 'version 1 in a later slice', later('10 12 03 00')],
    ['flags', 'flag 1', [firstSlice(`01 ${id} 00 01 01 01 03`, allWords)]],
    ['flags', 'flag 8 in a later slice', later('08 12 03 00')],
    ['checksum', 'a flipped bit', [damaged]],
    ['checksum', 'words cut off', [whole.slice(0, -1)]],
    ['checksum', 'a later slice of another image', [other, second]],
    ['checksum', 'a later slice alone', [Uint8Array.of(...second, ...second)]],
    ['shape-range', 'height 0', [firstSlice(`00 ${id} 00 00 01 01 03`, allWords)]],
    ['shape-range', 'width 0', [firstSlice(`00 ${id} 00 01 00 01 03`, allWords)]],
    [
      'slice-order',
      'a first slice that says it is the second',
      [firstSlice(`00 ${id} 00 01 01 12 01`, words)],
    ],
    ['slice-order', 'the third slice second', later('00 22 03 00')],
    ['slice-order', 'another count', later('00 13 03 00')],
    ['slice-order', 'another operating point', later('00 12 03 01')],
    ['channel-range', 'a first slice without channels', [firstSlice(`00 ${id} 00 01 01 01 00`, '00000100')]],
    ['channel-range', 'one slice, but not all channels', [firstSlice(`00 ${id} 00 01 01 01 01`, words)]],
    ['channel-range', 'more channels than the codec has', [firstSlice(`00 ${id} 00 01 01 01 04`, allWords)]],
    ['channel-range', 'all channels, but more slices', [firstSlice(`00 ${id} 00 01 01 02 03`, allWords)]],
    ['channel-range', 'a slice that ends where it starts', later('00 12 01 00')],
    ['channel-range', 'a last slice before the last channel', later('00 12 02 00')],
    [
      'unknown-codec',
      'an id that the reader does not have',
      [firstSlice('00 ffffffffffff 00 01 01 01 03', allWords)],
    ],
    ['point-range', 'a third operating point of two', [firstSlice(`00 ${id} 02 01 01 01 03`, allWords)]],
    ['entropy', 'no words', [firstSlice(`00 ${id} 00 01 01 01 03`, '')]],
    ['entropy', 'words after the last symbol', [firstSlice(`00 ${id} 00 01 01 01 03`, `${allWords}0000`)]],
    ['entropy', 'words of another point', [firstSlice(`00 ${id} 01 01 01 01 03`, allWords)]],
    [
      'entropy',
      'a symbol beyond int16',
      [
        firstSlice(
          `00 ${id} 00 01 01 01 03`,
          hex(encode(Int32Array.of(0, 32768, 0), Uint16Array.of(0, 1, 0), tiny.tables.tables)),
        ),
      ],
    ],
  ].map(([code, name, slices]) => ({ name, code, slices: slices.map(hex) }));
  const beyondLimits = [
    ['too-many-bytes', 'one byte more', [whole], { maxBytes: whole.length - 1, maxSymbols: 3 }],
    [
      'too-many-bytes',
      'in all slices',
      [first, second],
      { maxBytes: first.length + second.length - 1, maxSymbols: 3 },
    ],
    ['too-many-symbols', 'one symbol more', [whole], { maxBytes: whole.length, maxSymbols: 2 }],
    ['too-many-symbols', 'in slices that are not there', [first], { maxBytes: whole.length, maxSymbols: 2 }],
  ].map(([code, name, slices, limits]) => ({ name, code, slices: slices.map(hex), limits }));

  const racBad = [
    ['rac-magic', 'no bytes', ''],
    ['rac-magic', 'another magic', `52414400 01000000 00`],
    ['rac-magic', 'another version', `52414301 01000000 00`],
    ['slice-count', 'no slices', '52414300'],
    ['slice-count', 'five slices', `52414300 ${'00000000'.repeat(5)}`],
    ['rac-length', 'half a length', '52414300 0100'],
    ['rac-length', 'a slice longer than the file', '52414300 02000000 00'],
    ['rac-length', 'a slice of 4 GiB', '52414300 ffffffff 00'],
  ].map(([code, name, text]) => ({ name, code, rac: hex(bytes(text)) }));
  return { good, bad, beyondLimits, racBad };
}

// ---- files ----

/** JSON with one line per case. */
function write(name, value) {
  const lines = Object.entries(value).map(([key, list]) => {
    return `  ${JSON.stringify(key)}: [\n${list.map((item) => `    ${JSON.stringify(item)}`).join(',\n')}\n  ]`;
  });
  writeFileSync(new URL(name, import.meta.url), `{\n${lines.join(',\n')}\n}\n`);
}

const tables = await tablesVectors();
write('rans.json', ransVectors());
write('tables.json', tables);
write('quantise.json', quantiseVectors());
write('bitstream.json', bitstreamVectors(tables.good));
