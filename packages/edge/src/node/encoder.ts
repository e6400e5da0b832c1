import * as ort from 'onnxruntime-node';
import { EdgeError } from '../common/errors.ts';
import type { Encoder } from '../common/runtime.ts';

/**
 * An encoder network in ONNX Runtime (CPU, float32).
 * @param onnx one input tensor (1, 3, H, W), one output latent (1, C, h, w)
 * @param threads threads of one run
 * @throws EdgeError `encoder`
 */
export async function loadEncoder(onnx: Uint8Array, name: string, threads: number): Promise<Encoder> {
  let session: ort.InferenceSession;
  try {
    session = await ort.InferenceSession.create(onnx, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      // idle threads sleep instead of spinning: the next photo is being decoded on these processors
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    });
  } catch (cause) {
    throw new EdgeError('encoder', `${name} cannot be loaded: ${(cause as Error).message}`, { cause });
  }
  const metadata = session.inputMetadata[0];
  if (!metadata?.isTensor) throw new EdgeError('encoder', `${name} has no tensor input`);
  // the manifest's input size is the graph's, so its shape is fixed
  const shape = metadata.shape.map(Number);
  const [output] = session.outputNames;
  return {
    async run(tensor) {
      const results = await session.run({ [metadata.name]: new ort.Tensor('float32', tensor, shape) });
      return results[output!]!.data as Float32Array;
    },
    release: () => session.release(),
  };
}
