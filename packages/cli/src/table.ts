import Table from 'cli-table3';

/** A plain table: the first `left` columns flush left, the numbers after them flush right. */
export function table(head: string[], rows: string[][], left = 1): string {
  const plain = Object.fromEntries(
    ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
      .concat(['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'])
      .map((place) => [place, '']),
  );
  const grid = new Table({
    head,
    chars: { ...plain, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: head.map((_, i) => (i < left ? 'left' : 'right')),
  });
  grid.push(...rows);
  return grid.toString();
}

export const percent = (fraction: number): string => `${(100 * fraction).toFixed(1)} %`;
export const ms = (value: number): string => `${value.toFixed(1)} ms`;
export const bytes = (value: number): string => `${Math.round(value).toLocaleString('en')} B`;
export const mmac = (macs: number): string => `${(macs / 1e6).toFixed(0)} M`;
