import { availableParallelism } from 'node:os';
import { stemOf, type Bundle } from '@raccoon/bundle';
import { toTensor, type ImageInput } from '@raccoon/edge';
import { readPixels } from '@raccoon/edge/node';
import { openNetworks } from './networks.ts';

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
  const { input } = bundle.manifest;
  stemOf(bundle.manifest); // or says now that there is none
  const networks = openNetworks(bundle, threads);
  const network: UnsplitNetwork = {
    async classify(image) {
      return network.run(toTensor(await readPixels(image, input), input));
    },
    run: async (tensor) => networks.classify(await networks.stem(tensor)),
    release: () => networks.release(),
  };
  await network.run(new Float32Array(3 * input.height * input.width)); // loads both
  return network;
}
