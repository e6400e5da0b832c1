import type { Manifest } from '@raccoon/bundle';
import type { ImageInput } from './image.ts';

/** What an encoder network gives. */
export interface EncoderOutput {
  /** (1, C, h, w), the receiver's own */
  latent: Float32Array;
  /** (1, K), when asked for. */
  exitLogits?: Float32Array;
}

/** An encoder network that is ready to run. */
export interface Encoder {
  /** The input tensor as it is now -> latent and, if `withExit`, the local exit's logits. */
  run(withExit: boolean): Promise<EncoderOutput>;
  release(): Promise<void>;
}

/** What an edge takes from the platform it runs on: Node or a browser. */
export interface Runtime {
  /** An image at the network's size: RGB, 8 bits, (H, W, 3). @throws EdgeError */
  readPixels(image: ImageInput, input: Manifest['input']): Promise<Uint8Array>;
  /**
   * @param tensor (1, 3, H, W), what the encoder reads at each run
   * @param exitOutput the local exit's output, where the bundle has one
   * @throws EdgeError `encoder`
   */
  loadEncoder(
    onnx: Uint8Array,
    name: string,
    tensor: Float32Array,
    exitOutput: string | undefined,
  ): Promise<Encoder>;
}
