import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeWithIndexes, encodeWithIndexes } from './index.ts';

const root = resolve(import.meta.dirname, '../../../..');

interface Tables {
  cdfs: number[][];
  cdfSizes: number[];
  offsets: number[];
}

interface Case extends Tables {
  name: string;
  indexes: number[];
  symbols: number[];
  hex: string;
}

interface LongCase extends Tables {
  name: string;
  perChannel: number;
  seed: number;
  bytes: number;
  sha256: string;
}

/** Fails unless the stream is `bytes`, and decodes to the symbols. */
function check(symbols: ArrayLike<number>, indexes: ArrayLike<number>, tables: Tables, bytes: Buffer): void {
  const { cdfs, cdfSizes, offsets } = tables;
  const coded = encodeWithIndexes(symbols, indexes, cdfs, cdfSizes, offsets);
  expect(Buffer.from(coded).equals(bytes)).toBe(true);
  const decoded = decodeWithIndexes(bytes, indexes, cdfs, cdfSizes, offsets);
  expect(Buffer.from(decoded.buffer).equals(Buffer.from(Int32Array.from(symbols).buffer))).toBe(true);
}

/** The symbols and indexes of a long case; `generate-compressai.py` says how. */
function longMessage({ cdfs, cdfSizes, offsets, perChannel, seed }: LongCase): [number[], number[]] {
  let x = seed;
  const draw = (): number => (x = (Math.imul(x, 1664525) + 1013904223) >>> 0);
  const symbols: number[] = [];
  const indexes: number[] = [];
  for (const [t, cdf] of cdfs.entries()) {
    const last = cdfSizes[t]! - 2;
    for (let i = 0; i < perChannel; i++) {
      const slot = draw() >>> 16;
      let k = cdf.findIndex((count) => count > slot) - 1;
      if (k === last) {
        const value = draw();
        const distance = value & 0xfff;
        k = value >>> 31 ? -1 - distance : last + distance;
      }
      symbols.push(offsets[t]! + k);
      indexes.push(t);
    }
  }
  return [symbols, indexes];
}

describe("CompressAI's own streams", () => {
  const vectors = JSON.parse(readFileSync(join(root, 'test/vectors/compressai.json'), 'utf8')) as {
    cases: Case[];
    long: LongCase[];
  };

  test.each(vectors.cases)('$name', (vector) => {
    check(vector.symbols, vector.indexes, vector, Buffer.from(vector.hex, 'hex'));
  });

  test.each(vectors.long)('$name', (vector) => {
    const [symbols, indexes] = longMessage(vector);
    const coded = encodeWithIndexes(symbols, indexes, vector.cdfs, vector.cdfSizes, vector.offsets);
    expect(coded).toHaveLength(vector.bytes);
    expect(createHash('sha256').update(coded).digest('hex')).toBe(vector.sha256);
    check(symbols, indexes, vector, Buffer.from(coded));
  });
});

describe('the reference streams of the shared data', () => {
  const shared = process.env['RACCOON_DATA'] ?? resolve(root, '../shared');
  const file = join(shared, 'reference/compressai-streams.json');

  test.skipIf(!existsSync(file))('byte for byte', () => {
    const { cases } = JSON.parse(readFileSync(file, 'utf8')) as {
      cases: (Omit<Case, 'hex'> & { base64: string })[];
    };
    expect(cases).toHaveLength(5);
    for (const reference of cases) {
      check(reference.symbols, reference.indexes, reference, Buffer.from(reference.base64, 'base64'));
    }
  });
});
