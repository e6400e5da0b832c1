// Writes the golden vectors beside this file. Run by hand, from the repository's root, and only when the format changes:
//
//     npx tsc --build packages/codec && node test/vectors/generate.mjs
//
// Good cases come from the TypeScript coder's plain engine, so they are only as right as it is: the tests hold the
// WebAssembly engine and the Python reference coder, written from the documents, to them. Bad cases are made by hand.
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
import { RansTables, crc32c, encode, serialiseTables as serialisePool } from '@raccoon/rans-coder';

const LATENT_SPACE_ID = '000102030405060708090a0b0c0d0e0f';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const bytes = (text) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

/** A linear congruential generator (Numerical Recipes), in [0, 1). */
function random(seed) {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** The CRC-32C of `data`, going on from `seed`, as 4 bytes. */
function checksumOf(data, seed = 0) {
  const checksum = new Uint8Array(4);
  new DataView(checksum.buffer).setUint32(0, crc32c(data, seed), true);
  return checksum;
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
  { offset: -1, frequencies: [16384, 16384, 32768] }, // likeliest: the first of equals, whatever the escape has
  laplaceTable(0.05),
  laplaceTable(30),
  { offset: 0, frequencies: Array(256).fill(256) }, // every symbol has 8 bits
];
const [skewed, certain, rare, spread, half, equals, silent, broad, flat] = ransTables.keys();

const zeros = (count) => Array(count).fill(0);

function ransVectors() {
  const pool = RansTables.fromFrequencies(ransTables);
  const next = random(1);
  const symbolsOf = (count, std) => Array.from({ length: count }, () => Math.round(laplace(std, next)));
  const long = symbolsOf(300, 2.5);
  const powers = Array.from({ length: 32 }, (_, i) => (i % 2 ? -1 : 1) * 2 ** i);
  const every = [1, 2, 4];
  const chosen = [null];

  const indexed = [
    ['no symbols', [], [], every],
    ['one symbol', [0], [skewed], every],
    ['every symbol of a table', [-1, 0, 1], [skewed, skewed, skewed], every],
    ['an escape without digits', [0], [half], chosen],
    ['the smallest int32', [-(2 ** 31)], [skewed], every],
    ['the largest int32', [2 ** 31 - 1], [skewed], chosen],
    ['escapes of 1/65536', [1, -1], [certain, certain], chosen],
    ['almost free symbols', zeros(100), Array(100).fill(certain), every],
    ['escapes only', powers, Array(32).fill(rare), every],
    ['four tables in one stream', [0, 1, -5, 0, 2], [skewed, certain, rare, skewed, spread], every],
    ['300 symbols', long, long.map(() => spread), every],
  ];
  const runs = [
    ['no runs', [], [], 4, every],
    ['runs of no symbols', [], [skewed, certain], 0, chosen],
    ['runs of one symbol have no flag', [0, 0, 3, 0], [skewed, certain, rare, silent], 1, every],
    ['a set flag', zeros(8), [skewed], 8, every],
    ['a flag that is not set', [0, 0, 0, 0, 0, 0, 0, 1], [skewed], 8, every],
    ['too long for a flag', zeros(9), [skewed], 9, every],
    ['the first of equals is the likeliest', [-1, -1, 0, 0], [equals, equals], 2, every],
    ['the escape is not', [7, 7], [equals], 2, chosen],
    ['the likeliest is an escape of another table', [0, 0, 0, 0], [rare, certain], 2, chosen],
    ['set, not set, none, by turns', [...zeros(13), ...zeros(12), 3, ...zeros(13), ...long.slice(0, 13)], [silent, silent, certain, spread], 13, every], // prettier-ignore
    [
      'every lane begins anew with a run',
      long.slice(0, 35),
      [spread, skewed, spread, rare, spread],
      7,
      every,
    ],
    ['escapes in runs', powers, [rare, half, certain, spread], 8, every],
    ['runs of 784 zeros', zeros(3 * 784), [silent, silent, certain], 784, chosen],
    ['one symbol among 784 zeros', [...zeros(500), -1, ...zeros(283)], [silent], 784, chosen],
    ['1,023 bytes expected: one lane', zeros(1023), [flat], 1023, chosen],
    ['1,024 bytes expected: two lanes', zeros(1024), [flat], 1024, chosen],
    ['2,047 bytes expected: two lanes', zeros(2047), [flat], 2047, chosen],
    ['2,048 bytes expected: four lanes', zeros(2048), [flat], 2048, chosen],
    ['flagged runs add to what is expected', [...zeros(2047), ...zeros(2047)], [flat, silent], 2047, chosen],
  ];
  const big = symbolsOf(2400, 30);
  indexed.push(['1,500 wide symbols: two lanes', big.slice(0, 1500), Array(1500).fill(broad), chosen]);
  runs.push(['2,400 wide symbols in runs: four lanes', big, [broad, broad, broad, broad], 600, chosen]);

  const vector = (name, list, indexes, fields, laneCounts) =>
    laneCounts.map((lanes) => {
      const symbols = list.map((symbol) => symbol | 0);
      const options = { engine: 'plain', ...(lanes !== null && { lanes }) };
      const stream = encode(Int32Array.from(symbols), indexes, pool, options);
      const by = lanes === null ? '' : `, ${lanes} lane${lanes > 1 ? 's' : ''}`;
      return { name: `${name}${by}`, symbols, ...fields, lanes, bytes: hex(stream) };
    });
  const good = [
    ...indexed.flatMap(([name, symbols, indexes, lanes]) =>
      vector(name, symbols, Uint16Array.from(indexes), { indexes }, lanes),
    ),
    ...runs.flatMap(([name, symbols, tables, length, lanes]) =>
      vector(
        name,
        symbols,
        { tables: Uint16Array.from(tables), length },
        { runs: { tables, length } },
        lanes,
      ),
    ),
  ];
  // A state of 2^23, as a last one: 00008000, or 00008080 where a lane follows.
  const bad = [
    ['truncated', 'no bytes', '', { indexes: [] }],
    ['truncated', 'not even a state', '000080', { indexes: [] }],
    ['truncated', 'a lane follows that is not there', '00008080', { indexes: [] }],
    ['truncated', 'a byte too few', '000186008000', { indexes: [rare] }],
    ['lane-count', 'three lanes', '000080000000808000008080', { indexes: [] }],
    ['lane-count', 'five lanes', '0000800000008080000080800000808000008080', { indexes: [] }],
    ['initial-state', 'a state below 2^23', 'ffff7f00', { indexes: [] }],
    ['initial-state', 'a second state below 2^23', 'ffff7f00 00008080', { indexes: [] }],
    ['index-out-of-range', 'a table that is not there', '00a0cc00', { indexes: [ransTables.length] }],
    ['index-out-of-range', 'a run of it', '00a0cc00', { runs: { tables: [ransTables.length], length: 1 } }],
    ['run-not-flagged', 'two zeros, spelled out', '00881902', { runs: { tables: [skewed], length: 2 } }],
    ['escape-length', 'nine digits', '01111111118a008000', { indexes: [rare] }],
    ['escape-not-shortest', 'one digit, zero', '0082008000', { indexes: [rare] }],
    ['escape-not-shortest', 'two digits, the first zero', '0303080008', { indexes: [rare] }],
    ['escape-not-shortest', 'a symbol that the table has', '01080008', { indexes: [rare] }],
    ['symbol-range', '32768 as int16', '00000186008000', { indexes: [rare], out: 'int16' }],
    [
      'symbol-range',
      '-32769 as int16',
      '01000186008000',
      { runs: { tables: [rare], length: 1 }, out: 'int16' },
    ],
    ['trailing-bytes', 'a byte too many', '0000a0cc00', { indexes: [skewed] }],
    ['trailing-bytes', 'a byte too many for a flag', '0000008000', { indexes: [] }],
    ['final-state', 'a stream of another table', '00a0cc00', { indexes: [certain] }],
    ['final-state', 'a symbol too few', '00a0cc00', { indexes: [] }],
    ['final-state', 'in the second lane', '00008100 00008080', { indexes: [] }],
  ].map(([code, name, text, fields]) => ({ name, code, ...fields, bytes: hex(bytes(text)) }));
  return { tables: ransTables, good, bad, ...poolVectors() };
}

/** Serialised tables: magic `RNTB`, `rest` from the version on, and the checksum that they need. */
function poolOf(rest) {
  const body = bytes(`524e5442 ${rest}`);
  return Uint8Array.of(...body, ...checksumOf(body));
}

function poolVectors() {
  const goodPools = [
    ['no tables', []],
    ['the tables above', ransTables],
    ['the ends of int16', [{ offset: -32768, frequencies: [65535, 1] }, { offset: 32767, frequencies: [1, 65535] }]], // prettier-ignore
  ].map(([name, tables]) => ({
    name,
    tables,
    bytes: hex(serialisePool(RansTables.fromFrequencies(tables))),
  }));
  const badPools = [
    ['tables-format', 'no bytes', ''],
    ['tables-format', 'another magic', '524e5443 01 00 00000000'],
    ['tables-format', 'the header alone', '524e5442 01 00'],
    ['tables-format', 'version 2', poolOf('02 00')],
    ['tables-format', 'a table too few', poolOf('01 01')],
    ['tables-format', 'a table too many', poolOf('01 01 00 02 01 00 02 01')],
    ['tables-format', 'half a number', poolOf('01 01 00 02 80')],
    ['tables-format', 'a number longer than it need be', poolOf('01 01 00 02 8100')],
    ['tables-format', 'a number of four bytes', poolOf('01 01 00 02 80808001')],
    ['tables-format', '65,537 tables', poolOf('01 818004')],
    ['tables-format', 'more entries than bytes', poolOf('01 01 00 7f 01')],
    ['tables-format', 'an offset beyond int16', poolOf('01 01 808004 02 01')],
    ['tables-format', 'a frequency above 65536', poolOf('01 01 00 02 818004')],
    ['tables-checksum', 'a flipped bit', '524e5442 01 01 00 02 00 00000000'],
    ['invalid-table', 'no entries', poolOf('01 01 00 00')],
    ['invalid-table', 'the escape alone', poolOf('01 01 00 01')],
    ['invalid-table', 'a frequency of 0', poolOf('01 01 00 03 00 01')],
    ['invalid-table', 'nothing left for the escape', poolOf('01 01 00 02 808004')],
    ['invalid-table', 'a sum above 65536', poolOf('01 01 00 03 808004 01')],
    ['invalid-table', 'symbols beyond int16', poolOf('01 01 feff03 03 01 01')],
  ].map(([code, name, pool]) => ({ name, code, bytes: hex(typeof pool === 'string' ? bytes(pool) : pool) }));
  return { goodPools, badPools };
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
  const [version, gain, median, tableOf, pool] = [4, 8, 12, 16, 18]; // where its parts are
  /** The smallest tables.bin with some bytes replaced. */
  const patched = (at, text) => {
    const copy = binary.slice();
    copy.set(bytes(text), at);
    return copy;
  };
  /** The same with another pool, from its version on. */
  const pooled = (rest) => Uint8Array.of(...binary.slice(0, pool), ...poolOf(rest));
  const bad = [
    ['tables-magic', 'no bytes', new Uint8Array(0)],
    ['tables-magic', 'another magic', patched(0, '52544143')],
    ['tables-length', 'the magic alone', binary.slice(0, 4)],
    ['tables-length', 'half a header', binary.slice(0, 7)],
    ['tables-version', 'version 0', patched(version, '00')],
    ['tables-version', 'version 2', patched(version, '02')],
    ['tables-header', 'no points', patched(5, '00')],
    ['tables-header', 'no channels', patched(6, '0000')],
    ['tables-header', '256 channels', patched(6, '0001')],
    ['tables-length', 'more points than bytes', patched(5, 'ff')],
    ['tables-length', 'more channels than bytes', patched(6, 'ff00')],
    ['tables-length', 'a byte less than the counts need', binary.slice(0, pool - 1)],
    ['tables-value', 'gain 0', patched(gain, '00000000')],
    ['tables-value', 'gain -1', patched(gain, '000080bf')],
    ['tables-value', 'gain infinite', patched(gain, '0000807f')],
    ['tables-value', 'gain not a number', patched(gain, '0000c07f')],
    ['tables-value', 'median not a number', patched(median, '0000c07f')],
    ['tables-value', 'a table that is not there', patched(tableOf, '0100')],
    ['tables-value', 'a pool without tables', pooled('01 00')],
    ['tables-distribution', 'no pool', binary.slice(0, pool), 'tables-format'],
    ['tables-distribution', 'a pool of version 2', pooled('02 01 00 02 01'), 'tables-format'],
    ['tables-distribution', 'a pool that ends early', pooled('01 01 00 03 01'), 'tables-format'],
    ['tables-distribution', 'a pool that is damaged', patched(pool + 8, '00'), 'tables-checksum'],
    ['tables-distribution', 'a byte missing', binary.slice(0, -1), 'tables-checksum'],
    ['tables-distribution', 'a byte too many', Uint8Array.of(...binary, 0), 'tables-checksum'],
    ['tables-distribution', 'a zero frequency', pooled('01 01 00 03 00 01'), 'invalid-table'],
    ['tables-distribution', 'the escape alone', pooled('01 01 00 01'), 'invalid-table'],
  ].map(([code, name, binary_, cause]) => ({ name, code, cause, tablesBin: hex(binary_) }));
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
  const [head, tail] = [bytes(fields), bytes(words)];
  return Uint8Array.of(...head, ...checksumOf(tail, crc32c(head, seed)), ...tail);
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
    ['channels that are nothing but zeros', model, 0, 8, 8, [3, 8], [...values(3, 64, () => 1), ...Array(320).fill(0)]], // prettier-ignore
    ['slices of four, two and one lanes', model, 2, 26, 40, [4, 6, 8], values(8, 1040, (c) => 5 * 0.8 ** c)],
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
  const wordsOf = (symbols, tables_) =>
    hex(
      encode(Int32Array.from(symbols), { tables: Uint16Array.from(tables_), length: 1 }, tiny.tables.tables),
    );
  const words = '00a0cc00'; // a symbol 0 of table 0
  const allWords = wordsOf([0, 0, 0], [0, 1, 0]);
  const id = tiny.id;
  const whole = firstSlice(`10 ${id} 00 01 01 01 03`, allWords);
  const damaged = whole.slice();
  damaged[damaged.length - 1] ^= 1;
  const first = firstSlice(`10 ${id} 00 01 01 02 01`, words); // the first of two slices
  const rest = wordsOf([0, 0], [1, 0]);
  const second = laterSlice('10 12 03 00', rest, first);
  const other = firstSlice(`10 ${id} 00 01 01 02 01`, wordsOf([1], [0]));
  const later = (fields) => [first, laterSlice(fields, rest, first)];
  const bad = [
    ['slice-count', 'no slices', []],
    ['slice-count', 'five slices', [first, second, second, second, second]],
    ['slice-count', 'more slices than the header says', [whole, laterSlice('10 12 03 00', rest, whole)]],
    ['slice-count', 'a header that says none', [firstSlice(`10 ${id} 00 01 01 00 03`, allWords)]],
    ['slice-count', 'a header that says five', [firstSlice(`10 ${id} 00 01 01 05 03`, allWords)]],
    ['truncated', 'no bytes', [new Uint8Array(0)]],
    ['truncated', 'half a header', [whole.slice(0, 15)]],
    ['truncated', 'half a later header', [first, second.slice(0, 7)]],
    ['version', 'version 0', [firstSlice(`00 ${id} 00 01 01 01 03`, allWords)]],
    ['version', 'version 2', [firstSlice(`20 ${id} 00 01 01 01 03`, allWords)]],
    ['version', 'version 0 in a later slice', later('00 12 03 00')],
    ['flags', 'flag 1', [firstSlice(`11 ${id} 00 01 01 01 03`, allWords)]],
    ['flags', 'flag 8 in a later slice', later('18 12 03 00')],
    ['checksum', 'a flipped bit', [damaged]],
    ['checksum', 'words cut off', [whole.slice(0, -1)]],
    ['checksum', 'a later slice of another image', [other, second]],
    ['checksum', 'a later slice alone', [Uint8Array.of(...second, ...second)]],
    ['shape-range', 'height 0', [firstSlice(`10 ${id} 00 00 01 01 03`, allWords)]],
    ['shape-range', 'width 0', [firstSlice(`10 ${id} 00 01 00 01 03`, allWords)]],
    [
      'slice-order',
      'a first slice that says it is the second',
      [firstSlice(`10 ${id} 00 01 01 12 01`, words)],
    ],
    ['slice-order', 'the third slice second', later('10 22 03 00')],
    ['slice-order', 'another count', later('10 13 03 00')],
    ['slice-order', 'another operating point', later('10 12 03 01')],
    ['channel-range', 'a first slice without channels', [firstSlice(`10 ${id} 00 01 01 01 00`, '00008000')]],
    ['channel-range', 'one slice, but not all channels', [firstSlice(`10 ${id} 00 01 01 01 01`, words)]],
    ['channel-range', 'more channels than the codec has', [firstSlice(`10 ${id} 00 01 01 01 04`, allWords)]],
    ['channel-range', 'all channels, but more slices', [firstSlice(`10 ${id} 00 01 01 02 03`, allWords)]],
    ['channel-range', 'a slice that ends where it starts', later('10 12 01 00')],
    ['channel-range', 'a last slice before the last channel', later('10 12 02 00')],
    [
      'unknown-codec',
      'an id that the reader does not have',
      [firstSlice('10 ffffffffffff 00 01 01 01 03', allWords)],
    ],
    ['point-range', 'a third operating point of two', [firstSlice(`10 ${id} 02 01 01 01 03`, allWords)]],
    ['entropy', 'no words', [firstSlice(`10 ${id} 00 01 01 01 03`, '')], 'truncated'],
    [
      'entropy',
      'a byte too many',
      [firstSlice(`10 ${id} 00 01 01 01 03`, `00${allWords}`)],
      'trailing-bytes',
    ],
    ['entropy', 'words of another point', [firstSlice(`10 ${id} 01 01 01 01 03`, allWords)], 'truncated'],
    [
      'entropy',
      'a symbol beyond int16',
      [firstSlice(`10 ${id} 00 01 01 01 03`, wordsOf([0, 32768, 0], [0, 1, 0]))],
      'symbol-range',
    ],
    [
      'entropy',
      'three lanes',
      [firstSlice(`10 ${id} 00 01 01 01 03`, '000080000000808000008080')],
      'lane-count',
    ],
    ['entropy', 'zeros spelled out', [firstSlice(`10 ${id} 00 01 02 02 01`, '00881902')], 'run-not-flagged'],
  ].map(([code, name, slices, cause]) => ({ name, code, cause, slices: slices.map(hex) }));
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
