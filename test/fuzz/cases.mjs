import { RansError, crc32c, decode, encode, parseTables, serialiseTables } from '@raccoon/rans-coder';
import { decodeWithIndexes, encodeWithIndexes } from '@raccoon/rans-coder/compressai';
import { damaged, noise } from './damage.mjs';
import { forged } from './forge.mjs';
import { poolNumber, poolOf, size, symbolFor } from './pools.mjs';
import { Random } from './random.mjs';

/**
 * Case `seed`: makes bytes, has them read, and returns `[target, outcome]`, the outcome being 'decoded' or the code of
 * the `RansError`. Throws whatever else came out, and if a rule is broken: what is decoded is encoded to the same
 * bytes again, and engines agree on bytes, symbols, codes and messages.
 */
export function runCase(seed, engines) {
  const random = new Random(seed);
  const kind = random.below(20);
  if (kind < 14) return ['rans', coder(random, engines)];
  return kind < 19 ? ['compressai', compressai(random)] : ['tables', tableFile(random, engines)];
}

/** What came out of `action`: a value, or the code and message of a `RansError`. */
function outcomeOf(action) {
  try {
    return { value: action(), code: 'decoded', message: '' };
  } catch (error) {
    if (!(error instanceof RansError)) throw error;
    return { value: undefined, code: error.code, message: error.message };
  }
}

// ---- encode and decode ----

function coder(random, engines) {
  const { tables, lists } = poolOf(poolNumber(random));
  const message = messageFor(lists, random);
  const lanes = random.pick([1, 1, 2, 4]);
  const indexes = indexesOf(message);
  const how = random.below(10);
  let bytes;
  if (how === 0) bytes = noise(random);
  else if (how < 4) bytes = forged(message, lists, lanes, random);
  else {
    const options = random.once(3) ? {} : { lanes };
    const streams = engines.map((engine) => encode(message.symbols, indexes, tables, { ...options, engine }));
    for (const stream of streams) assertSame(streams[0], stream, 'engines encode to different bytes');
    bytes = streams[0];
    if (how === 9) assertDecodes(bytes, message, tables, engines);
  }
  if (how >= 3) bytes = random.once(30) ? bytes : damaged(bytes, random);
  const other = random.once(6) ? otherwise(message, lists, random) : message;
  return read(bytes, other, tables, engines, random.once(4));
}

/** Decodes with every engine; whatever is accepted must encode to the same bytes. */
function read(bytes, message, tables, engines, narrow) {
  const indexes = indexesOf(message);
  const room = (length) => (narrow ? new Int16Array(length) : new Int32Array(length));
  const outcomes = engines.map((engine) =>
    outcomeOf(() => decode(bytes, indexes, tables, { engine, out: room(message.symbols.length) })),
  );
  const [first] = outcomes;
  for (const { code, message: text, value } of outcomes) {
    if (code !== first.code || text !== first.message) {
      throw new Error(`engines disagree: '${first.code}: ${first.message}' and '${code}: ${text}'`);
    }
    if (value) assertSame(first.value, value, 'engines decode different symbols');
  }
  if (first.value) {
    const lanes = lanesOf(bytes);
    for (const engine of engines) {
      const again = encode(first.value, indexes, tables, { engine, lanes });
      assertSame(bytes, again, `${engine} accepts a stream that is not the encoder's`);
    }
  }
  return first.code;
}

function assertDecodes(bytes, { symbols, list, length }, tables, engines) {
  for (const engine of engines) {
    const out = new Int32Array(symbols.length);
    decode(bytes, indexesOf({ list, length }), tables, { engine, out });
    assertSame(symbols, out, `${engine} decodes other symbols than were encoded`);
  }
}

/** Symbols with the tables that code them: one for each, or one for each run of `length`. */
function messageFor(lists, random) {
  const count = size(random);
  const length = random.once(2) ? null : random.pick([0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 49, count]);
  const tables = length === null ? count : Math.min(count, Math.ceil(count / Math.max(1, length)));
  const list = Uint16Array.from({ length: tables }, () => random.below(lists.length));
  const symbols = new Int32Array(length === null ? count : tables * length);
  for (let i = 0, plain = false; i < symbols.length; i++) {
    const table = lists[list[length === null ? i : Math.floor(i / length)]];
    if (length !== null && i % length === 0) plain = random.once(2); // a run of its likeliest symbol
    symbols[i] = plain ? table.likelySymbol : symbolFor(table, random);
  }
  return { symbols, list, length };
}

/** The same stream read as something else: other tables, other lengths, an index too far. */
function otherwise({ symbols, list, length }, lists, random) {
  const indexes = list.slice(0, random.once(3) ? random.below(list.length + 1) : list.length);
  if (indexes.length > 0) indexes[random.below(indexes.length)] = random.below(lists.length + 1);
  const run = random.once(3) ? random.pick([null, 1, 2, 3]) : length;
  const count = run === null ? indexes.length : run * indexes.length;
  return { symbols: { length: count, of: symbols }, list: indexes, length: run };
}

function indexesOf({ list, length }) {
  return length === null ? list : { tables: list, length };
}

/** The lanes of a stream that is right. */
function lanesOf(bytes) {
  if (bytes.at(-1) < 128) return 1;
  return bytes.at(-5) < 128 ? 2 : 4;
}

function assertSame(expected, actual, what) {
  let same = expected.length === actual.length;
  for (let i = 0; same && i < expected.length; i++) same = expected[i] === actual[i];
  if (!same) throw new Error(`${what}: [${expected.slice(0, 40)}] and [${actual.slice(0, 40)}]`);
}

// ---- CompressAI's coder ----

const cdfsOf = new WeakMap();

function compressai(random) {
  const pool = poolOf(poolNumber(random) & ~63); // the widest tables are for the other coder
  if (!cdfsOf.has(pool)) {
    const cdfs = pool.lists.map(({ cumulative }) => cumulative);
    cdfsOf.set(pool, [cdfs, cdfs.map(({ length }) => length), pool.lists.map(({ offset }) => offset)]);
  }
  const tables = cdfsOf.get(pool);
  const count = size(random);
  const indexes = Int32Array.from({ length: count }, () => random.below(pool.lists.length));
  const symbols = Int32Array.from(indexes, (t) => symbolFor(pool.lists[t], random));
  let bytes = noise(random);
  if (!random.once(10)) {
    const stream = encodeWithIndexes(symbols, indexes, ...tables);
    assertSame(symbols, decodeWithIndexes(stream, indexes, ...tables), 'decodes other symbols');
    bytes = random.once(30) ? stream : damaged(stream, random);
    if (random.once(8)) indexes[random.below(count)] = random.below(pool.lists.length + 1);
  }
  const { value, code } = outcomeOf(() => decodeWithIndexes(bytes, indexes, ...tables));
  if (value) assertSame(bytes, encodeWithIndexes(value, indexes, ...tables), 'accepts what it does not make');
  return code;
}

// ---- serialised tables ----

const files = new WeakMap();

function tableFile(random, engines) {
  const pool = poolOf(random.below(63)); // without the widest, which takes a while to write
  if (!files.has(pool)) files.set(pool, serialiseTables(pool.tables));
  let bytes = random.once(20) ? files.get(pool) : damaged(files.get(pool), random);
  if (bytes.length > 4 && !random.once(8)) bytes = sealed(bytes);
  const { value, code } = outcomeOf(() => parseTables(bytes));
  if (!value) return code;
  assertSame(bytes, serialiseTables(value), 'reads tables that it does not write');
  const symbols = Int32Array.from({ length: random.below(20) }, () => random.int32());
  const indexes = Uint16Array.from(symbols, () => random.below(value.count));
  if (value.count > 0) {
    const stream = encode(symbols, indexes, value, { engine: engines[0] });
    assertDecodes(stream, { symbols, list: indexes, length: null }, value, engines);
  }
  return code;
}

/** The bytes with a checksum that is right, and mostly a head too. */
function sealed(bytes) {
  const result = bytes.slice();
  const end = result.length - 4;
  const checksum = crc32c(result.subarray(0, end));
  for (let i = 0; i < 4; i++) result[end + i] = checksum >>> (8 * i);
  return result;
}
