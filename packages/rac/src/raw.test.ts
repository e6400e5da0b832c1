import { beforeAll, expect, test } from 'vitest';
import { mulberry32 } from './random.ts';
import { openZstd, packFloats, unpackFloats } from './raw.ts';

beforeAll(openZstd);
beforeAll(openZstd); // as every row does

const random = mulberry32(3);
/** Features behind a ReLU6: half of them 0. */
const features = Float32Array.from({ length: 5000 }, () => Math.max(0, Math.min(6, 8 * random() - 4)));

test('float32 come back as they were', () => {
  const payload = packFloats(features, 'float32');
  expect(payload.length).toBeLessThan(4 * features.length);
  expect(unpackFloats(payload, 'float32')).toEqual(features);
});

test('int8 come back to half a step, in less than a quarter of the bytes', () => {
  const payload = packFloats(features, 'int8');
  expect(payload.length).toBeLessThan(features.length);
  const back = unpackFloats(payload, 'int8');
  const most = Math.max(...back.map((value, i) => Math.abs(value - features[i]!)));
  expect(most).toBeLessThan((6 / 255 / 2) * 1.001);
});

test('values that are all the same have no step', () => {
  expect(unpackFloats(packFloats(Float32Array.of(-2, -2, -2), 'int8'), 'int8')).toEqual(
    Float32Array.of(-2, -2, -2),
  );
});

test('a view into a larger buffer is sent alone', () => {
  const view = new Float32Array(features.buffer, 400, 10);
  expect(unpackFloats(packFloats(view, 'float32'), 'float32')).toEqual(view.slice());
});
