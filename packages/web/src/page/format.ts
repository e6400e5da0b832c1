/** 1,883 */
export function count(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

/** 0.846 -> 84.6 % */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** 0.26 ms, 3.4 ms, 120 ms, 1.9 s */
export function ms(value: number): string {
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  const digits = value < 1 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ms`;
}

/** 5 kB/s */
export function speed(bytesPerSecond: number): string {
  if (bytesPerSecond === Infinity) return 'as it is';
  return bytesPerSecond < 1000 ? `${bytesPerSecond} B/s` : `${bytesPerSecond / 1000} kB/s`;
}
