import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RansTables, crc32c, fromProbabilities } from '@raccoon/rans-coder';
import type { Distribution } from '@raccoon/rans-coder';
import {
  CodecError,
  HEADER_BYTES,
  bitsPerChannel,
  decodeBitstream,
  encodeBitstream,
  estimateBits,
  flushBytes,
  peekHeader,
  readHeader,
  readRac,
  writeRac,
} from './index.ts';
import type { Codec } from './index.ts';

// Exact bytes, and one literal bad stream per error code, are in test/vectors/bitstream.json.

/** Laplace-like frequencies for integers of standard deviation `std`. */
function laplaceTable(std: number): Distribution {
  const reach = Math.ceil(6 * std);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) =>
    Math.exp((-Math.abs(k - reach) * Math.SQRT2) / std),
  );
  const sum = weights.reduce((a, b) => a + b);
  return fromProbabilities(
    -reach,
    weights.map((weight) => (0.999 * weight) / sum),
  );
}

/** Laplace variables from a linear congruential generator. */
function laplaceSymbols(channels: number, plane: number, std: (c: number) => number): Int16Array {
  let state = 1;
  return Int16Array.from({ length: channels * plane }, (_, i) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const u = state / 2 ** 32 - 0.5;
    return Math.round(
      (-std(Math.floor(i / plane)) / Math.SQRT2) * Math.sign(u) * Math.log(1 - 2 * Math.abs(u)),
    );
  });
}

/** Deviations of the reference model's channels, 5 to 0.06. */
const fading = (c: number): number => 5 * 0.91 ** c;

/** P points, C channels; channel c of point p has the deviation `std(p, c)`. */
function codecOf(points: number, channels: number, std: (p: number, c: number) => number): Codec {
  const cells = Array.from({ length: points * channels }, (_, i) => i);
  const pool = cells.map((i) => laplaceTable(std(Math.floor(i / channels), i % channels)));
  return {
    id: 'c0dec0c0dec0',
    tables: {
      points,
      channels,
      gain: new Float32Array(cells.length).fill(1),
      median: new Float32Array(cells.length),
      tableOf: Uint16Array.from(cells),
      tables: RansTables.fromFrequencies(pool),
    },
  };
}

const codec = codecOf(2, 4, (p, c) => (1 + p) / (1 + c));
const codecs = new Map([[codec.id, codec]]);
const withCode = (code: string): unknown => expect.objectContaining({ name: 'CodecError', code });

describe('round trip', () => {
  const image = fc
    .record({
      point: fc.nat(1),
      h: fc.integer({ min: 1, max: 5 }),
      w: fc.integer({ min: 1, max: 5 }),
      cuts: fc.subarray([1, 2, 3]),
    })
    .chain(({ point, h, w, cuts }) =>
      fc
        .int16Array({ minLength: 4 * h * w, maxLength: 4 * h * w })
        .map((symbols) => ({ point, h, w, channelEnds: [...cuts, 4], symbols: symbols.map((s) => s >> 11) })),
    );

  test('any symbols, in any slices, through a file', () => {
    fc.assert(
      fc.property(image, ({ point, h, w, channelEnds, symbols }) => {
        const slices = encodeBitstream(symbols, { h, w }, point, codec, { channelEnds });
        expect(readHeader(slices.at(0)!)).toEqual({
          version: 1,
          codecId: codec.id,
          point,
          h,
          w,
          sliceCount: channelEnds.length,
          channelEnd: channelEnds[0],
        });
        expect(decodeBitstream(readRac(writeRac(slices)), codecs)).toEqual({
          codec,
          point,
          h,
          w,
          channels: 4,
          symbols: Int16Array.from(symbols),
        });
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test('the reference model: 48 x 28 x 28 within 0.1 % of its information', () => {
    const model = codecOf(1, 48, (_, c) => fading(c));
    const symbols = laplaceSymbols(48, 28 * 28, fading);
    const shape = { h: 28, w: 28 };
    const slices = encodeBitstream(symbols, shape, 0, model);
    expect(decodeBitstream(slices, new Map([[model.id, model]])).symbols).toEqual(symbols);
    const bits = estimateBits(symbols, shape, 0, model);
    expect(flushBytes(slices)).toBe(16); // four lanes
    const wordBits = 8 * (slices.at(0)!.length - HEADER_BYTES - 16);
    expect(Math.abs(wordBits - bits)).toBeLessThan(0.001 * bits);
    expect(bitsPerChannel(symbols, shape, 0, model).reduce((a, b) => a + b)).toBe(bits);
  });

  test('channels of zeros cost next to nothing', () => {
    const model = codecOf(1, 48, () => 0.05);
    const symbols = new Int16Array(48 * 28 * 28);
    const [slice] = encodeBitstream(symbols, { h: 28, w: 28 }, 0, model);
    expect(slice!.length).toBeLessThan(HEADER_BYTES + 48 * 28);
    expect(decodeBitstream([slice!], new Map([[model.id, model]])).symbols).toEqual(symbols);
    // one symbol elsewhere costs its channel's flag, which was likely, and its own bits
    const [other] = encodeBitstream(symbols.with(30_000, 1), { h: 28, w: 28 }, 0, model);
    expect(other!.length - slice!.length).toBeLessThan(8);
  });

  test('flush: 4 bytes for each lane of each slice', () => {
    expect(flushBytes([])).toBe(0);
    expect(flushBytes([Uint8Array.of(0, 0, 128, 0)])).toBe(4);
    const two = Uint8Array.of(1, 2, 3, 0, 0, 128, 0, 0, 0, 128, 0x80);
    expect(flushBytes([two, Uint8Array.of(9, 0, 0, 128, 0)])).toBe(12);
    const symbols = laplaceSymbols(4, 9, () => 1);
    expect(flushBytes(encodeBitstream(symbols, { h: 3, w: 3 }, 0, codec, { channelEnds: [1, 4] }))).toBe(8);
  });

  test('bits of a channel: entries and the digits of escapes', () => {
    const coin: Codec = {
      id: codec.id,
      tables: {
        ...codecOf(1, 2, () => 1).tables,
        tableOf: Uint16Array.of(0, 0),
        tables: RansTables.fromFrequencies([{ offset: 0, frequencies: [16384, 49152 - 4096, 4096] }]),
      },
    };
    const bits = bitsPerChannel(Int16Array.of(0, 0, 0, -1), { h: 1, w: 2 }, 0, coin);
    expect([...bits]).toEqual([4, 2 + 4 + 4 + 4]);
  });
});

describe('what the encoder refuses', () => {
  const symbols = new Int16Array(16);
  const shape = { h: 2, w: 2 };

  test('point-range', () => {
    expect(() => encodeBitstream(symbols, shape, 2, codec)).toThrow(withCode('point-range'));
    expect(() => estimateBits(symbols, shape, -1, codec)).toThrow(withCode('point-range'));
  });

  test('shape-range', () => {
    for (const h of [0, 256, 1.5, Number.NaN]) {
      expect(() => encodeBitstream(symbols, { h, w: 2 }, 0, codec)).toThrow(withCode('shape-range'));
    }
  });

  test('shape-mismatch', () => {
    expect(() => encodeBitstream(symbols, { h: 2, w: 3 }, 0, codec)).toThrow(withCode('shape-mismatch'));
    expect(() => bitsPerChannel(symbols, { h: 2, w: 3 }, 0, codec)).toThrow(withCode('shape-mismatch'));
  });

  test.each([[[3]], [[5]], [[2, 2, 4]], [[0, 4]], [[3, 2, 4]], [[4, 4]], [[1.5, 4]], [[1, Number.NaN]]])(
    'channel-range: %j',
    (channelEnds) => {
      expect(() => encodeBitstream(symbols, shape, 0, codec, { channelEnds })).toThrow(
        withCode('channel-range'),
      );
    },
  );

  test.each([[[]], [[0, 1, 2, 3, 4]]])('slice-count: %j', (channelEnds) => {
    expect(() => encodeBitstream(symbols, shape, 0, codec, { channelEnds })).toThrow(withCode('slice-count'));
  });
});

/** Decodes; only a CodecError may come out. */
function attack(attacked: Uint8Array[]): void {
  try {
    decodeBitstream(attacked, codecs);
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
  }
}

/** `slice`, a first slice, with the checksum that its bytes need. */
function withChecksum(slice: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const checksum = crc32c(slice.subarray(HEADER_BYTES), crc32c(slice.subarray(0, 12)));
  new DataView(slice.buffer).setUint32(12, checksum, true);
  return slice;
}

describe('hostile slices', () => {
  test('a glance reads the header of a damaged slice, and nothing that is not one', () => {
    const own = codecOf(1, 3, () => 1);
    const [slice] = encodeBitstream(new Int16Array(3 * 4), { h: 2, w: 2 }, 0, own);
    expect(peekHeader(slice!)).toEqual(readHeader(slice!));
    const damaged = slice!.map((byte, i) => (i === 8 ? 9 : byte));
    expect(() => readHeader(damaged)).toThrow(withCode('checksum'));
    expect(peekHeader(damaged)).toMatchObject({ h: 9, w: 2, codecId: own.id });
    expect(() => peekHeader(slice!.subarray(0, HEADER_BYTES - 1))).toThrow(withCode('truncated'));
    expect(() => peekHeader(slice!.map((byte) => byte ^ 0x80))).toThrow(withCode('version'));
    expect(() => peekHeader(slice!.map((byte) => byte | 1))).toThrow(withCode('flags'));
  });

  const symbols = laplaceSymbols(4, 9, (c) => 2 / (1 + c));
  const slices = encodeBitstream(symbols, { h: 3, w: 3 }, 1, codec, { channelEnds: [1, 4] });

  test('every flipped bit is found', () => {
    for (const [index, slice] of slices.entries()) {
      for (let bit = 0; bit < 8 * slice.length; bit++) {
        const damaged = slice.slice();
        damaged.set([slice.at(bit >> 3)! ^ (1 << (bit & 7))], bit >> 3);
        expect(() => decodeBitstream(slices.with(index, damaged), codecs)).toThrow(CodecError);
      }
    }
  });

  test('every cut is found', () => {
    for (const [index, slice] of slices.entries()) {
      for (let length = 0; length < slice.length; length++) {
        const cut = slices.with(index, slice.slice(0, length));
        expect(() => decodeBitstream(cut, codecs)).toThrow(CodecError);
      }
    }
  });

  test('random bytes', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 }), attack), {
      seed: 2,
      numRuns: 2000,
    });
  });

  test('random fields and words with the right checksum', () => {
    const field = fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }) },
      { weight: 1, arbitrary: fc.nat(255) },
    );
    const fields = fc.tuple(fc.nat(2), field, field, field, field);
    fc.assert(
      fc.property(fields, fc.uint8Array({ maxLength: 60 }), (values, words) => {
        const slice = Uint8Array.of(16, ...Buffer.from(codec.id, 'hex'), ...values, 0, 0, 0, 0, ...words);
        attack([withChecksum(slice)]);
      }),
      { seed: 3, numRuns: 3000 },
    );
  });

  test('random files', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (rest) => {
        try {
          const file = Uint8Array.of(0x52, 0x41, 0x43, 0, ...rest.map((byte) => byte & 15));
          expect(writeRac(readRac(file))).toEqual(file);
        } catch (error) {
          if (!(error instanceof CodecError)) throw error;
        }
      }),
      { seed: 4, numRuns: 2000 },
    );
  });

  test('a huge claim is refused before anything is allocated for it', () => {
    const wide = codecOf(1, 255, () => 0.2);
    const claim = encodeBitstream(new Int16Array(255), { h: 1, w: 1 }, 0, wide).at(0)!;
    claim.set([255, 255], 8); // h, w: 16.6 million symbols, each almost free
    withChecksum(claim);
    expect(() => readHeader(claim)).toThrow(withCode('too-many-symbols'));
    expect(() => decodeBitstream([claim], new Map([[wide.id, wide]]))).toThrow(withCode('too-many-symbols'));
  });

  test('unknown-codec: the message names both sides', () => {
    expect(() => decodeBitstream(slices, new Map([['0123456789ab', codec]]))).toThrow(
      /c0dec0c0dec0.*0123456789ab/,
    );
    expect(() => decodeBitstream(slices, new Map())).toThrow(/none/);
  });

  test('entropy: the cause is the error of the coder', () => {
    const slice = withChecksum(slices.at(0)!.slice(0, HEADER_BYTES));
    expect(() => decodeBitstream([slice], codecs)).toThrow(
      expect.objectContaining({
        code: 'entropy',
        cause: expect.objectContaining({ code: 'truncated' }) as unknown,
      }),
    );
  });
});
