import { availableParallelism } from 'node:os';
import { stemOf, type Bundle } from '@raccoon/bundle';
import { toTensor, type ImageInput } from '@raccoon/edge';
import { readPixels } from '@raccoon/edge/node';
import * as ort from 'onnxruntime-node';

/** The network that was split, whole: `stem.onnx`, then `classifier.onnx`. */
export interface UnsplitNetwork {
  /** image -> logits (K) */
  classify(image: ImageInput): Promise<Float32Array>;
  /** tensor (1, 3, H, W) -> logits (K) */
  run(tensor: Float32Array): Promise<Float32Array>;
  release(): Promise<void>;
}

/** @throws BundleError, `no-stem` where the bundle has no unsplit network */
export async function loadUnsplit(
  bundle: Bundle,
  threads: number = availableParallelism(),
): Promise<UnsplitNetwork> {
  const { manifest } = bundle;
  const { input } = manifest;
  const options = {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } }, // it runs beside edge and cloud, and is not to slow them
  };
  const stem = await ort.InferenceSession.create(await bundle.read(stemOf(manifest).file), options);
  const classifier = await ort.InferenceSession.create(await bundle.read(manifest.classifier.file), options);
  const network: UnsplitNetwork = {
    async classify(image) {
      return network.run(toTensor(await readPixels(image, input), input));
    },
    async run(tensor) {
      const { features } = await stem.run({
        tensor: new ort.Tensor('float32', tensor, [1, 3, input.height, input.width]),
      });
      const { logits } = await classifier.run({ features: features! });
      return logits!.data as Float32Array;
    },
    async release() {
      await stem.release();
      await classifier.release();
    },
  };
  return network;
}
