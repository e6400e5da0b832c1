import type { BasicType } from 'hyparquet-writer';
import type { Column } from './columns.ts';

const TYPES: Record<Column<unknown>['type'], BasicType> = {
  text: 'STRING',
  number: 'DOUBLE',
  whole: 'INT64',
  flag: 'BOOLEAN',
};

/** An Apache Parquet file, compressed with Snappy; columns may be null. */
export async function parquet<T>(columns: readonly Column<T>[], items: readonly T[]): Promise<Uint8Array> {
  const { parquetWriteBuffer } = await import('hyparquet-writer'); // only now: commands that write none start sooner
  const columnData = columns.map(({ name, type, of }) => ({
    name,
    type: TYPES[type],
    data: items.map((item) => {
      const value = of(item);
      return type === 'whole' && typeof value === 'number' ? BigInt(Math.round(value)) : value;
    }),
  }));
  return new Uint8Array(parquetWriteBuffer({ columnData }));
}
