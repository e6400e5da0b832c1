import { expect, test } from 'vitest';
import { count, ms, percent, speed } from './format.ts';

test('numbers as people read them', () => {
  expect(count(117693.4)).toBe('117,693');
  expect(percent(0.846)).toBe('84.6 %');
  expect([0.256, 3.44, 120.4, 1940].map(ms)).toEqual(['0.26 ms', '3.4 ms', '120 ms', '1.9 s']);
  expect([500, 5000, Infinity].map(speed)).toEqual(['500 B/s', '5 kB/s', 'as it is']);
});
