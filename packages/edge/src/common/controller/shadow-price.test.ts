import { expect, test } from 'vitest';
import { ShadowPrice, type PriceOptions } from './shadow-price.ts';

const options: PriceOptions = { rate: 1000, least: 1e-4, horizon: 2 };
/** What nobody pays more than. */
const highest = 1;

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('use at the limit leaves the price, twice the limit for a horizon makes it e-fold', () => {
  const shadow = new ShadowPrice({ ...options, least: 0.01 });
  shadow.use(2000, 0);
  const before = shadow.price;
  shadow.use(500, 500);
  expect(shadow.price).toBeCloseTo(before, 12);
  shadow.use(4000, 2000);
  expect(shadow.price).toBeCloseTo(before * Math.E, 9);
});

test('idle time makes it the least price and no less; without a limit it stays there', () => {
  const shadow = new ShadowPrice(options);
  shadow.use(5000, 0);
  shadow.use(0, 3_600_000);
  expect(shadow.price).toBe(options.least);
  const free = new ShadowPrice({ ...options, rate: undefined });
  free.use(1e9, 0);
  expect(free.price).toBe(options.least);
});

test.each([1, 2, 3])('who buys what is worth more than its price keeps to the limit (seed %i)', (seed) => {
  const random = seeded(seed);
  const shadow = new ShadowPrice(options);
  const { rate, least, horizon } = options;
  let used = 0;
  let seconds = 0;
  const most = 3000;
  for (let i = 0; i < 5000; i++) {
    const elapsed = 400 * random();
    seconds += elapsed / 1000;
    shadow.use(0, elapsed);
    const units = most * random();
    if (highest * units * random() ** 4 > shadow.price * units) {
      used += units;
      shadow.use(units, 0);
    }
    expect(used).toBeLessThanOrEqual(rate! * (seconds + horizon * Math.log(highest / least)) + most);
  }
  expect(used / seconds).toBeGreaterThan(0.9 * rate!); // and spends it
});
