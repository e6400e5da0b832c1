import * as ort from 'onnxruntime-node';
import { EdgeError } from '../common/errors.ts';
import type { Encoder } from '../common/runtime.ts';

/** The output that is the latent, unless it is the only one. */
const LATENT = 'latent';

/**
 * An encoder network in ONNX Runtime (CPU).
 * @param onnx one input tensor (1, 3, H, W); output `latent` (1, C, h, w)
 * @param exitOutput the output with the local exit's logits (1, K), where there is one
 * @param threads threads of one run
 * @throws EdgeError `encoder`
 */
export async function loadEncoder(
  onnx: Uint8Array,
  name: string,
  exitOutput: string | undefined,
  threads: number,
): Promise<Encoder> {
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
  const { outputNames } = session;
  const latentOutput = outputNames.length === 1 ? outputNames[0]! : LATENT;
  const all = exitOutput === undefined ? [latentOutput] : [latentOutput, exitOutput];
  for (const output of all) {
    if (!outputNames.includes(output)) {
      throw new EdgeError('encoder', `${name} has no output ${output}; it has ${outputNames.join(', ')}`);
    }
  }
  return {
    async run(tensor, withExit) {
      const feeds = { [metadata.name]: new ort.Tensor('float32', tensor, shape) };
      const results = await session.run(feeds, withExit ? all : [latentOutput]);
      return {
        latent: results[latentOutput]!.data as Float32Array,
        ...(withExit &&
          exitOutput !== undefined && {
            exitLogits: results[exitOutput]!.data as Float32Array,
          }),
      };
    },
    release: () => session.release(),
  };
}
