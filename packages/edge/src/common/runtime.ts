import type { Manifest } from '@raccoon/bundle';
import type { ImageInput } from './image.ts';

/** An encoder network that is ready to run. */
export interface Encoder {
  /** tensor (1, 3, H, W) -> latent (1, C, h, w) */
  run(tensor: Float32Array): Promise<Float32Array>;
  release(): Promise<void>;
}

/** What an edge takes from the platform it runs on: Node or a browser. */
export interface Runtime {
  /** An image at the network's size: RGB, 8 bits, (H, W, 3). @throws EdgeError */
  readPixels(image: ImageInput, input: Manifest['input']): Promise<Uint8Array>;
  loadEncoder(onnx: Uint8Array, name: string): Promise<Encoder>;
}
