import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RansError, RansTables, crc32c, fromCounts, parseTables, serialiseTables } from './index.ts';
import type { RansErrorCode } from './index.ts';

const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The bytes with the checksum of them. */
function sealed(text: string): Uint8Array {
  const bytes = fromHex(text);
  const checksum = crc32c(bytes);
  return Uint8Array.of(...bytes, checksum, checksum >>> 8, checksum >>> 16, checksum >>> 24);
}

const HEAD = '524e5442 01';

describe('literal bytes', () => {
  test.each<[string, { offset: number; frequencies: number[] }[], string]>([
    ['no tables', [], '524e544201 00 c122b782'],
    [
      'two tables', // offset -1 is zigzag 1; 8192 is 80 40, 40960 is 80 c0 02, 12288 is 80 60
      [
        { offset: -1, frequencies: [0x2000, 0xa000, 0x3000, 0x1000] },
        { offset: 100, frequencies: [65535, 1] },
      ],
      '524e544201 02 01 04 8040 80c002 8060 c801 02 ffff03 1c5456e4',
    ],
  ])('%s', (_, distributions, text) => {
    const tables = RansTables.fromFrequencies(distributions);
    expect(toHex(serialiseTables(tables))).toBe(toHex(fromHex(text)));
    expect(parseTables(fromHex(text))).toEqual(tables);
  });

  test.each<[RansErrorCode, string, Uint8Array]>([
    ['tables-format', 'no bytes', fromHex('')],
    ['tables-format', 'a head alone', fromHex(HEAD)],
    ['tables-format', 'another magic', sealed('524e5443 01 00')],
    ['tables-format', 'version 0', sealed('524e5442 00 00')],
    ['tables-format', 'version 2', sealed('524e5442 02 00')],
    ['tables-format', 'no number of tables', sealed(HEAD)],
    ['tables-format', 'a table that is not there', sealed(`${HEAD} 01`)],
    ['tables-format', 'a table without a size', sealed(`${HEAD} 01 00`)],
    ['tables-format', 'a table without frequencies', sealed(`${HEAD} 01 00 02`)],
    ['tables-format', 'an end within a number', sealed(`${HEAD} 01 00 02 ff`)],
    ['tables-format', 'a number that could be shorter', sealed(`${HEAD} 01 00 02 8100`)],
    ['tables-format', 'a number of four bytes', sealed(`${HEAD} 01 00 02 81808001`)],
    ['tables-format', 'more tables than an index can name', sealed(`${HEAD} 818004`)],
    ['tables-format', 'an offset that no int16 has', sealed(`${HEAD} 01 808004 02 01`)],
    ['tables-format', 'more entries than there can be', sealed(`${HEAD} 01 00 818004`)],
    ['tables-format', 'more entries than there are bytes', sealed(`${HEAD} 01 00 808004 01 01`)],
    ['tables-format', 'a frequency above 65536', sealed(`${HEAD} 01 00 02 818004`)],
    ['tables-format', 'bytes behind the last table', sealed(`${HEAD} 01 00 02 01 00`)],
    ['tables-checksum', 'a checksum of zeros', fromHex(`${HEAD} 00 00000000`)],
    ['tables-checksum', 'a byte that changed', fromHex('524e544201 01 c122b782')],
    ['invalid-table', 'no entries', sealed(`${HEAD} 01 00 00`)],
    ['invalid-table', 'the escape alone', sealed(`${HEAD} 01 00 01`)],
    ['invalid-table', 'a frequency of 0', sealed(`${HEAD} 01 00 02 00`)],
    ['invalid-table', 'frequencies that leave none to the escape', sealed(`${HEAD} 01 00 02 808004`)],
    ['invalid-table', 'frequencies beyond 65536', sealed(`${HEAD} 01 00 03 ffff03 ffff03`)],
    ['invalid-table', 'symbols beyond int16', sealed(`${HEAD} 01 feff03 03 01 01`)], // 32767 and 32768
  ])('%s: %s', (code, _, bytes) => {
    expect(() => parseTables(bytes)).toThrow(expect.objectContaining({ name: 'RansError', code }));
  });
});

const pools = fc
  .array(
    fc.record({
      offset: fc.oneof(fc.integer({ min: -32768, max: 32700 }), fc.integer({ min: -30, max: 30 })),
      counts: fc.array(fc.nat(1000), { minLength: 1, maxLength: 40 }),
      escapes: fc.integer({ min: 1, max: 1000 }),
    }),
    { maxLength: 6 },
  )
  .map((list) => RansTables.fromFrequencies(list.map(({ offset, counts, escapes }) => fromCounts(offset, counts, escapes)))); // prettier-ignore

test('any pool comes back, from the middle of a buffer too', () => {
  fc.assert(
    fc.property(pools, (tables) => {
      const bytes = serialiseTables(tables);
      for (const file of [bytes, Uint8Array.of(7, ...bytes, 7).subarray(1, -1)]) {
        expect(Buffer.from(parseTables(file).buffer).equals(Buffer.from(tables.buffer))).toBe(true);
      }
    }),
    { seed: 1, numRuns: 200 },
  );
});

test('hostile bytes give a RansError, or tables that have exactly these bytes', () => {
  fc.assert(
    fc.property(
      pools,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
      fc.nat(8),
      fc.boolean(),
      (tables, edits, cut, seal) => {
        // prettier-ignore
        const bytes = serialiseTables(tables);
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
        const body = bytes.subarray(0, bytes.length - 4 - (cut < bytes.length - 9 ? cut : 0));
        const hostile = seal ? sealed(toHex(body)) : bytes;
        try {
          expect(toHex(serialiseTables(parseTables(hostile)))).toBe(toHex(hostile));
        } catch (error) {
          expect(error).toBeInstanceOf(RansError);
        }
      },
    ),
    { seed: 2, numRuns: 2000 },
  );
});
