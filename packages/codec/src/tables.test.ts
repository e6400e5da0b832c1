import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RansTables } from '@raccoon/rans-coder';
import { CodecError, MAX_TABLES_BYTES, codecId, loadCodec, parseTables, serialiseTables } from './index.ts';

// Two points, three channels, two tables.
const LITERAL = `
  52544142 00 02 0300 0200 0000
  0000803f 00000040 0000003f 00008040 0000803f 0000803f
  00000000 000080bf 0000803e 00000000 00000000 00000000
  0000 0100 0000 0100 0100 0000
  ffff 0000
  0400 0200
  0020 00a0 0030 0010 ffff 0100`;

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
    const damage = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(damage, fc.nat(bytes.length), (changes, length) => {
        const damaged = bytes.slice(0, length % 4 === 0 ? length : bytes.length);
        for (const [at, value] of changes) if (at < damaged.length) damaged[at] = value;
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
    const tables = RansTables.fromFrequencies([wide, wide]);
    expect(() => serialiseTables({ ...parseTables(bytes), tables })).toThrow(withCode('tables-too-large'));
  });

  test('tables-value: the writer checks too', () => {
    const gain = Float32Array.of(1, 1, 1, 1, 1, -1);
    expect(() => serialiseTables({ ...parseTables(bytes), gain })).toThrow(withCode('tables-value'));
  });

  test('a full pool stays within 4 MB', () => {
    const reach = 88;
    const frequencies = new Uint16Array(2 * reach + 2).fill(1);
    frequencies[reach] = 65536 - frequencies.length + 1;
    const tables = RansTables.fromFrequencies(
      Array.from({ length: 400 }, () => ({ offset: -reach, frequencies })),
    );
    expect(serialiseTables({ ...parseTables(bytes), tables }).length).toBeGreaterThan(
      0.95 * MAX_TABLES_BYTES,
    );
    const { offsets, escapes, firsts, entries, buckets } = tables;
    const memory = [offsets, escapes, firsts, entries, buckets].reduce(
      (sum, array) => sum + array.byteLength,
      0,
    );
    expect(memory).toBeLessThan(4_000_000);
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
