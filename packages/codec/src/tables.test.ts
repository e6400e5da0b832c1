import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RansTables, crc32c, fromCounts } from '@raccoon/rans-coder';
import { CodecError, MAX_TABLES_BYTES, codecId, loadCodec, parseTables, serialiseTables } from './index.ts';

// Two points, three channels; a pool of two distributions.
const LITERAL = `
  52544142 01 02 0300
  0000803f 00000040 0000003f 00008040 0000803f 0000803f
  00000000 000080bf 0000803e 00000000 00000000 00000000
  0000 0100 0000 0100 0100 0000
  524e5442 01 02
  01 04 8040 80c002 8060
  00 02 ffff03
  2dbb35b7`;

const bytes = Uint8Array.from(Buffer.from(LITERAL.replaceAll(/\s/g, ''), 'hex'));
const id = '000102030405060708090a0b0c0d0e0f';
const withCode = (code: string): unknown => expect.objectContaining({ name: 'CodecError', code });

describe('tables.bin', () => {
  test('literal bytes', () => {
    const t = parseTables(bytes);
    expect(t).toEqual({
      points: 2,
      channels: 3,
      gain: Float32Array.of(1, 2, 0.5, 4, 1, 1),
      median: Float32Array.of(0, -1, 0.25, 0, 0, 0),
      tableOf: Uint16Array.of(0, 1, 0, 1, 1, 0),
      tables: RansTables.fromFrequencies([
        { offset: -1, frequencies: [0x2000, 0xa000, 0x3000, 0x1000] },
        { offset: 0, frequencies: [65535, 1] },
      ]),
    });
    expect(serialiseTables(t)).toEqual(bytes);
  });

  test('is read from the middle of a buffer', () => {
    const around = new Uint8Array(bytes.length + 3);
    around.set(bytes, 1);
    expect(parseTables(around.subarray(1, 1 + bytes.length))).toEqual(parseTables(bytes));
  });

  test('only a CodecError comes out of damaged bytes, and what is accepted is what would be written', () => {
    const pool = 8 + 10 * 6;
    const damage = fc.array(fc.tuple(fc.nat(bytes.length - 5), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(damage, fc.nat(3 * bytes.length), fc.boolean(), (changes, length, repaired) => {
        const damaged = bytes.slice(0, length);
        for (const [at, value] of changes) if (at < damaged.length) damaged[at] = value;
        if (repaired && damaged.length >= pool + 4) {
          const end = damaged.length - 4;
          new DataView(damaged.buffer).setUint32(end, crc32c(damaged.subarray(pool, end)), true);
        }
        try {
          expect(serialiseTables(parseTables(damaged))).toEqual(damaged);
        } catch (error) {
          if (!(error instanceof CodecError)) throw error;
        }
      }),
      { seed: 1, numRuns: 3000 },
    );
  });

  test('tables-too-large: neither read nor written', () => {
    expect(() => parseTables(new Uint8Array(MAX_TABLES_BYTES + 1))).toThrow(withCode('tables-too-large'));
    const wide = { offset: -32768, frequencies: new Uint16Array(65535).fill(1).with(0, 2) };
    const tables = RansTables.fromFrequencies([wide, wide, wide]);
    expect(() => serialiseTables({ ...parseTables(bytes), tables })).toThrow(withCode('tables-too-large'));
  });

  test('tables-distribution: the cause is the error of the coder', () => {
    const damaged = bytes.with(bytes.length - 1, 0);
    expect(() => parseTables(damaged)).toThrow(
      expect.objectContaining({
        code: 'tables-distribution',
        cause: expect.objectContaining({ code: 'tables-checksum' }) as unknown,
      }),
    );
  });

  test('tables-value: the writer checks too', () => {
    const gain = Float32Array.of(1, 1, 1, 1, 1, -1);
    expect(() => serialiseTables({ ...parseTables(bytes), gain })).toThrow(withCode('tables-value'));
  });

  test('8 x 8 points of 64 channels that share 400 distributions: within the limit, and 4 MB in memory', () => {
    const [points, channels, count, reach] = [64, 64, 400, 64];
    const pool = Array.from({ length: count }, (_, t) => {
      const std = 0.05 * 500 ** (t / (count - 1)); // 0.05 to 25
      const counts = Array.from({ length: 2 * reach + 1 }, (_unused, k) =>
        Math.exp((-Math.SQRT2 * Math.abs(k - reach)) / std),
      );
      return fromCounts(-reach, counts);
    });
    const cells = points * channels;
    const file = serialiseTables({
      points,
      channels,
      gain: new Float32Array(cells).fill(1),
      median: new Float32Array(cells),
      tableOf: Uint16Array.from({ length: cells }, (_, i) => i % count),
      tables: RansTables.fromFrequencies(pool),
    });
    expect(file.length).toBeLessThan(MAX_TABLES_BYTES);
    expect(parseTables(file).tables.buffer.byteLength).toBeLessThan(4_000_000);
  });
});

describe('codec id', () => {
  test('is the start of a SHA-256', async () => {
    const { createHash } = await import('node:crypto');
    const expected = createHash('sha256')
      .update(Buffer.from(id, 'hex'))
      .update(bytes)
      .digest('hex')
      .slice(0, 12);
    expect(await codecId(bytes, id)).toBe(expected);
    expect(await loadCodec(bytes, id)).toEqual({ id: expected, tables: parseTables(bytes) });
  });

  test.each(['', id.slice(1), `${id}0`, id.replace('a', 'A'), id.replace('a', 'g')])(
    'latent-space-id: %j',
    async (wrong) => {
      await expect(codecId(bytes, wrong)).rejects.toThrow(withCode('latent-space-id'));
    },
  );
});
