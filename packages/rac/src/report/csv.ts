import type { Column } from './columns.ts';

/** RFC 4180, with a line of names, and nothing where there is nothing. */
export function csv<T>(columns: readonly Column<T>[], items: readonly T[]): string {
  const lines = [
    columns.map(({ name }) => name),
    ...items.map((item) => columns.map(({ of }) => String(of(item) ?? ''))),
  ];
  return lines.map((cells) => `${cells.map(quoted).join(',')}\r\n`).join('');
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
