import * as ort from 'onnxruntime-node';
import { EdgeError } from '../common/errors.ts';
import type { Encoder } from '../common/runtime.ts';
import { encoderOf } from '../common/session.ts';

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
  const input = (shape: number[]): ort.Tensor => new ort.Tensor('float32', tensor, shape);
  return encoderOf(session, { name, input, exitOutput });
}
