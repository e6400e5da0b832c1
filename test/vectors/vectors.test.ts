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
import { RansError, RansTables, decode, encode } from '@raccoon/rans-coder';
import bitstreams from './bitstream.json' with { type: 'json' };
import latents from './quantise.json' with { type: 'json' };
import rans from './rans.json' with { type: 'json' };
import tablesFiles from './tables.json' with { type: 'json' };

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytesOf = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(text, 'hex'));
const floatsOf = (text: string): Float32Array => new Float32Array(bytesOf(text).buffer);

describe('rans.json', () => {
  const { tables, good, bad } = rans;
  const pool = RansTables.fromFrequencies(tables);

  test.each(good)('$name', ({ symbols, indexes, bytes }) => {
    expect(hex(encode(Int32Array.from(symbols), Uint16Array.from(indexes), pool))).toBe(bytes);
    expect([...decode(bytesOf(bytes), Uint16Array.from(indexes), pool)]).toEqual(symbols);
  });

  test.each(bad)('$code: $name', ({ code, indexes, bytes }) => {
    const action = (): unknown => decode(bytesOf(bytes), Uint16Array.from(indexes), pool);
    expect(action).toThrow(RansError);
    expect(action).toThrow(expect.objectContaining({ code }));
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

  test.each(bad)('$code: $name', ({ code, tablesBin }) => {
    const action = (): unknown => parseTables(bytesOf(tablesBin));
    expect(action).toThrow(CodecError);
    expect(action).toThrow(expect.objectContaining({ code }));
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

  test.each(bad)('$code: $name', ({ code, slices }) => {
    const action = (): unknown => decodeBitstream(slices.map(bytesOf), codecs);
    expect(action).toThrow(CodecError);
    expect(action).toThrow(expect.objectContaining({ code }));
  });

  test.each(beyondLimits)('$code: $name', ({ code, slices, limits }) => {
    const action = (): unknown => decodeBitstream(slices.map(bytesOf), codecs, limits);
    expect(action).toThrow(expect.objectContaining({ code }));
  });

  test.each(racBad)('$code: $name', ({ code, rac }) => {
    const action = (): unknown => readRac(bytesOf(rac));
    expect(action).toThrow(CodecError);
    expect(action).toThrow(expect.objectContaining({ code }));
  });
});
