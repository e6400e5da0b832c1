import type { Manifest } from '@raccoon/bundle';
import type { ImageInput } from './image.ts';

/** What an encoder network gives. */
export interface EncoderOutput {
  /** (1, C, h, w) */
  latent: Float32Array;
  /** (1, K), when asked for. */
  exitLogits?: Float32Array;
}

/** An encoder network that is ready to run. */
export interface Encoder {
  /** tensor (1, 3, H, W) -> latent and, if `withExit`, the local exit's logits. */
  run(tensor: Float32Array, withExit: boolean): Promise<EncoderOutput>;
  release(): Promise<void>;
}

/** What an edge takes from the platform it runs on: Node or a browser. */
export interface Runtime {
  /** An image at the network's size: RGB, 8 bits, (H, W, 3). @throws EdgeError */
  readPixels(image: ImageInput, input: Manifest['input']): Promise<Uint8Array>;
  /** @param exitOutput the local exit's output, where the bundle has one. @throws EdgeError `encoder` */
  loadEncoder(onnx: Uint8Array, name: string, exitOutput: string | undefined): Promise<Encoder>;
}
