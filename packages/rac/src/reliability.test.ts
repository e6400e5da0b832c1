import { expect, test } from 'vitest';
import { mulberry32 } from './random.ts';
import { expectedCalibrationError, fitTemperature, leastShare, wasserstein } from './reliability.ts';

test('logits that were multiplied by three are divided by three again', () => {
  const random = mulberry32(7);
  const logits: Float32Array[] = [];
  const labels: number[] = [];
  for (let i = 0; i < 4000; i++) {
    const odds = Array.from({ length: 4 }, () => 4 * random());
    const powers = odds.map(Math.exp);
    let draw = random() * powers.reduce((sum, power) => sum + power, 0);
    labels.push(powers.findIndex((power) => (draw -= power) < 0)); // drawn from softmax(odds): calibrated at T = 1
    logits.push(Float32Array.from(odds, (value) => 3 * value));
  }
  expect(fitTemperature(logits, labels)).toBeCloseTo(3, 0);
});

test('the calibration error by hand', () => {
  // one bin of 0.9: half of them right; one of 0.3: all of them right
  const confidences = [0.9, 0.9, 0.3, 0.3];
  expect(expectedCalibrationError(confidences, [true, false, true, true])).toBeCloseTo(
    0.5 * 0.4 + 0.5 * 0.7,
    12,
  );
  expect(expectedCalibrationError([1, 1], [true, true])).toBe(0);
});

test('the distance between distributions by hand', () => {
  expect(wasserstein([0, 0], [1])).toBeCloseTo(1, 12);
  expect(wasserstein([0.2, 0.6], [0.3, 0.7, 0.7, 0.3])).toBeCloseTo(0.1, 12);
  expect(wasserstein([0.5], [0.5])).toBe(0);
  expect(wasserstein([], [0.5])).toBeNaN();
});

test("the lower end of Wilson's interval", () => {
  expect(leastShare(17, 17)).toBeCloseTo(86.3, 1);
  expect(leastShare(0, 17)).toBeCloseTo(0, 9);
  expect(leastShare(500, 1000)).toBeCloseTo(47.4, 1);
});
