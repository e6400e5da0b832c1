import { availableParallelism } from 'node:os';
import { stemOf, type Bundle } from '@raccoon/bundle';
import * as ort from 'onnxruntime-node';

/** The networks of a bundle that do not run at its edge, one image at a time. Each is loaded at its first use. */
export interface Networks {
  /** tensor (1, 3, H, W) -> features (1, F, h, w). @throws BundleError `no-stem` */
  stem(tensor: Float32Array): Promise<Float32Array>;
  /** symbols (C, h, w) of operating point `point` -> features (1, F, h, w) */
  decode(symbols: Int16Array, point: number): Promise<Float32Array>;
  /** features (1, F, h, w) -> logits (K) */
  classify(features: Float32Array): Promise<Float32Array>;
  release(): Promise<void>;
}

export function openNetworks(bundle: Bundle, threads: number = availableParallelism()): Networks {
  const { manifest } = bundle;
  const { input, latent, features } = manifest;
  const sessions = new Map<string, Promise<ort.InferenceSession>>();
  const options = {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } }, // it runs beside edge and cloud, and is not to slow them
  };

  async function run(
    file: string,
    feeds: ort.InferenceSession.FeedsType,
    output: string,
  ): Promise<Float32Array> {
    let session = sessions.get(file);
    if (!session) {
      session = bundle.read(file).then((onnx) => ort.InferenceSession.create(onnx, options));
      sessions.set(file, session);
    }
    const { [output]: result } = await (await session).run(feeds);
    return result!.data as Float32Array;
  }

  return {
    stem: async (tensor) =>
      run(
        stemOf(manifest).file,
        { tensor: new ort.Tensor('float32', tensor, [1, 3, input.height, input.width]) },
        'features',
      ),
    decode: (symbols, point) =>
      run(
        manifest.decoder.file,
        {
          symbols: new ort.Tensor('int16', symbols, [1, latent.channels, latent.height, latent.width]),
          point: new ort.Tensor('int64', BigInt64Array.of(BigInt(point)), [1]),
        },
        'features',
      ),
    classify: (values) =>
      run(
        manifest.classifier.file,
        {
          features: new ort.Tensor('float32', values, [
            1,
            features.channels,
            features.height,
            features.width,
          ]),
        },
        'logits',
      ),
    async release() {
      for (const session of sessions.values()) await (await session).release();
      sessions.clear();
    },
  };
}
