import type { Interval } from './bands.ts';

// Numbers as people read them. A minus is a minus, so that it lines up with a plus.

const MINUS = '\u2212';

export const fixed = (value: number, digits: number): string =>
  value
    .toFixed(digits)
    .replace(/^-(?=0\.?0*$)/, '')
    .replace('-', MINUS);

export const signed = (value: number, digits = 1): string => {
  const text = fixed(value, digits);
  return Number(value.toFixed(digits)) > 0 ? `+${text}` : text;
};

export const whole = (value: number): string => Math.round(value).toLocaleString('en');

/** Three digits that count. */
export const ms = (value: number): string => fixed(value, value < 10 ? 2 : value < 100 ? 1 : 0);

export const macs = (value: number): string =>
  value === 0
    ? '0'
    : value < 1e9
      ? `${fixed(value / 1e6, value < 1e7 ? 1 : 0)} M`
      : `${fixed(value / 1e9, 2)} G`;

export const bpp = (value: number): string => fixed(value, 3);

/** Nothing was measured, or there is nothing to measure. */
export const NONE = '–';

export function orNone<T>(value: T | null | undefined, text: (value: T) => string): string {
  return value === null || value === undefined ? NONE : text(value);
}

export const range = ({ low, high }: Interval, digits = 1, sign = false): string => {
  const text = (value: number): string => (sign ? signed(value, digits) : fixed(value, digits));
  return `${text(low)} to ${text(high)}`;
};

/** a, b and c */
export function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
