import { RansError } from './errors.ts';
import type { RansTables } from './tables.ts';

/** Which distribution codes which symbol: one index per symbol, or one per run of symbols. */
export type Indexes = Uint16Array | Runs;

/**
 * Runs of `length` symbols each, run r coded with distribution `tables[r]`: the channels of a latent, say. A run costs
 * no memory per symbol, codes faster, and costs next to nothing where it holds only its likeliest symbol.
 */
export interface Runs {
  readonly tables: Uint16Array;
  readonly length: number;
}

/** `length` symbols, all coded with distribution `table`. */
export function constant(table: number, length: number): Runs {
  return { tables: Uint16Array.of(table), length };
}

/** Symbols that `indexes` are for. Throws `RansError` 'length-mismatch' if runs have no whole length. */
export function symbolCount(indexes: Indexes): number {
  if (indexes instanceof Uint16Array) return indexes.length;
  const { tables, length } = indexes;
  if (!Number.isInteger(length) || length < 0) {
    throw new RansError('length-mismatch', `runs of ${length} symbols; the length must be a whole number`);
  }
  return tables.length * length;
}

/** Throws `RansError` 'index-out-of-range' for the first index beyond the pool. */
export function checkIndexes(indexes: Indexes, { count }: RansTables): void {
  const perSymbol = indexes instanceof Uint16Array;
  const list = perSymbol ? indexes : indexes.tables;
  for (let i = 0; i < list.length; i++) {
    if (list[i]! < count) continue;
    const place = perSymbol ? 'symbol' : 'run';
    throw new RansError(
      'index-out-of-range',
      `index ${list[i]} at ${place} ${i}, but there are ${count} tables`,
    );
  }
}
