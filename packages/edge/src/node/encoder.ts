import * as ort from 'onnxruntime-node';
import { EdgeError } from '../common/errors.ts';
import type { Encoder } from '../common/runtime.ts';

/** The output that is the latent, unless it is the only one. */
const LATENT = 'latent';

export interface EncoderOptions {
  /** Threads of one run. */
  threads: number;
  /** Whether they spin while they wait for work, instead of sleeping. */
  spin: boolean;
}

/**
 * An encoder network in ONNX Runtime (CPU).
 * @param onnx one input tensor (1, 3, H, W); output `latent` (1, C, h, w)
 * @param tensor what each run reads
 * @param exitOutput the output with the local exit's logits (1, K), where there is one
 * @throws EdgeError `encoder`
 */
export async function loadEncoder(
  onnx: Uint8Array,
  name: string,
  tensor: Float32Array,
  exitOutput: string | undefined,
  { threads, spin }: EncoderOptions,
): Promise<Encoder> {
  let session: ort.InferenceSession;
  try {
    session = await ort.InferenceSession.create(onnx, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      extra: { session: { intra_op: { allow_spinning: spin ? '1' : '0' } } },
    });
  } catch (cause) {
    throw new EdgeError('encoder', `${name} cannot be loaded: ${(cause as Error).message}`, { cause });
  }
  const metadata = session.inputMetadata[0];
  if (!metadata?.isTensor) throw new EdgeError('encoder', `${name} has no tensor input`);
  const { outputNames } = session;
  const latentOutput = outputNames.length === 1 ? outputNames[0]! : LATENT;
  const all = exitOutput === undefined ? [latentOutput] : [latentOutput, exitOutput];
  for (const output of all) {
    if (!outputNames.includes(output)) {
      throw new EdgeError('encoder', `${name} has no output ${output}; it has ${outputNames.join(', ')}`);
    }
  }
  // the manifest's input size is the graph's, so its shape is fixed
  const feeds = { [metadata.name]: new ort.Tensor('float32', tensor, metadata.shape.map(Number)) };
  return {
    async run(withExit) {
      // ONNX Runtime may be given the outputs' memory; its Node binding then copies them all the same (1.30)
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
