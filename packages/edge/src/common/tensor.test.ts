import { expect, test } from 'vitest';
import { toTensor } from './tensor.ts';

test('pixels become normalised planes', () => {
  const input = {
    width: 2,
    height: 1,
    shortSide: 2,
    filter: 'bilinear-antialias' as const,
    mean: [127.5, 0, 100] as [number, number, number],
    std: [127.5, 1, 50] as [number, number, number],
  };
  const tensor = toTensor(Uint8Array.of(0, 1, 100, 255, 2, 200), input);
  expect(tensor).toEqual(Float32Array.of(-1, 1, 1, 2, 0, 2)); // R R, G G, B B
});
