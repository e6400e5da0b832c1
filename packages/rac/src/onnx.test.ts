import { openBundle } from '@raccoon/bundle/node';
import * as ort from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { convNetMacs, convNetOnnx, countParameters } from './onnx.ts';

const small = { width: 3, depth: 2, resolution: 5 };

test('a network of convolutions runs, keeps the shape, and is the same for the same seed', async () => {
  const onnx = convNetOnnx(small, 1);
  expect(Buffer.compare(onnx, convNetOnnx(small, 1))).toBe(0);
  expect(Buffer.compare(onnx, convNetOnnx(small, 2))).not.toBe(0);
  const session = await ort.InferenceSession.create(onnx);
  const x = new ort.Tensor('float32', new Float32Array(75).fill(1), [1, 3, 5, 5]);
  const { y } = await session.run({ x });
  expect(y!.dims).toEqual([1, 3, 5, 5]);
  expect((y!.data as Float32Array).some((value) => value > 0)).toBe(true);
  await session.release();
});

test('multiply-accumulates and parameters of it', () => {
  expect(convNetMacs(small)).toBe(2 * 9 * 3 * 3 * 25);
  expect(countParameters(convNetOnnx(small, 1))).toBe(2 * 9 * 3 * 3);
});

test('parameters of the shipped encoders: more with more blocks, and int8 ones have as many', async () => {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const count = async (file: string): Promise<number> => countParameters(await bundle.read(file));
  const [n0, n8, n8int8] = await Promise.all(
    ['encoder-n0', 'encoder-n8', 'encoder-n8-int8'].map((of) => count(`${of}.onnx`)),
  );
  expect(n8).toBe(245_248 + 192_000 + 2552); // convolutions, the exit's classifier, biases
  expect(n8int8).toBe(n8);
  expect(n0).toBeLessThan(n8!);
});

test.each([[Uint8Array.of(0xff)], [new Uint8Array(0)], [Uint8Array.of(7)]])('%s is no network', (bytes) => {
  expect(() => countParameters(bytes)).toThrow(RangeError);
});
