import { describe, expect, test } from 'vitest';
import {
  CodecError,
  codecId,
  decodeBitstream,
  encodeBitstream,
  parseTables,
  quantise,
  readRac,
  serialiseTables,
  writeRac,
} from '@raccoon/codec';
import type { Codec } from '@raccoon/codec';
import {
  RansError,
  RansTables,
  decode,
  encode,
  engines,
  parseTables as parsePool,
  serialiseTables as serialisePool,
} from '@raccoon/rans-coder';
import type { EncodeOptions, Indexes, Lanes } from '@raccoon/rans-coder';
import bitstreams from './bitstream.json' with { type: 'json' };
import latents from './quantise.json' with { type: 'json' };
import rans from './rans.json' with { type: 'json' };
import tablesFiles from './tables.json' with { type: 'json' };

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytesOf = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(text, 'hex'));
const floatsOf = (text: string): Float32Array => new Float32Array(bytesOf(text).buffer);

/** Throws a `type` with that code, and the cause with its own if there is one. */
function expectThrow(
  action: () => unknown,
  type: typeof CodecError | typeof RansError,
  code: string,
  cause?: string,
): void {
  expect(action).toThrow(type);
  const because = cause !== undefined && { cause: expect.objectContaining({ code: cause }) as unknown };
  expect(action).toThrow(expect.objectContaining({ code, ...because }));
}

/** Of a vector: `indexes`, one for each symbol, or `runs`. */
function indexesOf(vector: { indexes?: number[]; runs?: { tables: number[]; length: number } }): Indexes {
  const { indexes, runs } = vector;
  return runs === undefined
    ? Uint16Array.from(indexes!)
    : { tables: Uint16Array.from(runs.tables), length: runs.length };
}

describe('rans.json', () => {
  const { tables, good, bad, goodPools, badPools } = rans;
  const pool = RansTables.fromFrequencies(tables);

  describe.each(engines())('%s', (engine) => {
    test.each(good)('$name', (vector) => {
      const indexes = indexesOf(vector);
      const options: EncodeOptions = vector.lanes === null ? {} : { lanes: vector.lanes as Lanes };
      const encoded = encode(Int32Array.from(vector.symbols), indexes, pool, { ...options, engine });
      expect(hex(encoded)).toBe(vector.bytes);
      expect([...decode(bytesOf(vector.bytes), indexes, pool, { engine })]).toEqual(vector.symbols);
    });

    test.each(bad)('$code: $name', (vector) => {
      const [bytes, indexes] = [bytesOf(vector.bytes), indexesOf(vector)];
      const action = (): unknown =>
        vector.out === 'int16'
          ? decode(bytes, indexes, pool, { engine, out: new Int16Array(1) })
          : decode(bytes, indexes, pool, { engine });
      expectThrow(action, RansError, vector.code);
    });
  });

  test.each(goodPools)('pool: $name', (vector) => {
    expect(hex(serialisePool(RansTables.fromFrequencies(vector.tables)))).toBe(vector.bytes);
    expect(parsePool(bytesOf(vector.bytes))).toEqual(RansTables.fromFrequencies(vector.tables));
  });

  test.each(badPools)('pool, $code: $name', ({ code, bytes }) => {
    expectThrow(() => parsePool(bytesOf(bytes)), RansError, code);
  });
});

describe('tables.json', () => {
  const { good, bad } = tablesFiles;

  test.each(good)('$name', async (vector) => {
    const t = parseTables(bytesOf(vector.tablesBin));
    expect([t.points, t.channels]).toEqual([vector.points, vector.channels]);
    expect([[...t.gain], [...t.median], [...t.tableOf]]).toEqual([
      vector.gain,
      vector.median,
      vector.tableOf,
    ]);
    expect(t.tables).toEqual(RansTables.fromFrequencies(vector.tables));
    expect(hex(serialiseTables(t))).toBe(vector.tablesBin);
    expect(await codecId(bytesOf(vector.tablesBin), vector.latentSpaceId)).toBe(vector.codecId);
  });

  test.each(bad)('$code: $name', ({ code, cause, tablesBin }) => {
    expectThrow(() => parseTables(bytesOf(tablesBin)), CodecError, code, cause);
  });
});

describe('quantise.json', () => {
  const { good, bad } = latents;
  const tables = RansTables.fromFrequencies([{ offset: 0, frequencies: [1, 65535] }]);

  function run({
    gain,
    median,
    latentFloat32,
  }: {
    gain: number;
    median: number;
    latentFloat32: string;
  }): Int16Array {
    const latent = floatsOf(latentFloat32);
    const one = { points: 1, channels: 1, tableOf: Uint16Array.of(0), tables };
    return quantise(latent, latent.length, 0, {
      ...one,
      gain: Float32Array.of(gain),
      median: Float32Array.of(median),
    });
  }

  test.each(good)('$name', (vector) => {
    expect([...run(vector)]).toEqual(vector.symbols);
  });

  test.each(bad)('$code: $name', (vector) => {
    expect(() => run(vector)).toThrow(expect.objectContaining({ code: vector.code }));
  });
});

describe('bitstream.json', () => {
  const { good, bad, beyondLimits, racBad } = bitstreams;
  const named = new Map<string, Codec>();
  for (const { name, codecId: id, tablesBin } of tablesFiles.good) {
    named.set(name, { id, tables: parseTables(bytesOf(tablesBin)) });
  }
  const codecs = new Map([...named.values()].map((codec) => [codec.id, codec]));

  test.each(good)('$name', ({ codec: name, point, h, w, channelEnds, symbols, slices, rac }) => {
    const codec = named.get(name)!;
    const encoded = encodeBitstream(Int16Array.from(symbols), { h, w }, point, codec, { channelEnds });
    expect(encoded.map(hex)).toEqual(slices);
    expect(hex(writeRac(encoded))).toBe(rac);
    expect(readRac(bytesOf(rac)).map(hex)).toEqual(slices);

    // Every prefix of the slices is an image whose later channels are zero.
    for (const [last, channels] of channelEnds.entries()) {
      const decoded = decodeBitstream(encoded.slice(0, last + 1), codecs);
      const expected = symbols.map((symbol, i) => (i < channels * h * w ? symbol : 0));
      expect(decoded).toEqual({ codec, point, h, w, channels, symbols: Int16Array.from(expected) });
    }
  });

  test.each(bad)('$code: $name', ({ code, cause, slices }) => {
    expectThrow(() => decodeBitstream(slices.map(bytesOf), codecs), CodecError, code, cause);
  });

  test.each(beyondLimits)('$code: $name', ({ code, slices, limits }) => {
    expectThrow(() => decodeBitstream(slices.map(bytesOf), codecs, limits), CodecError, code);
  });

  test.each(racBad)('$code: $name', ({ code, rac }) => {
    expectThrow(() => readRac(bytesOf(rac)), CodecError, code);
  });
});
