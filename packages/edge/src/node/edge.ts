import { availableParallelism } from 'node:os';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { createEdge, type Edge } from '../common/edge.ts';
import { loadEncoder } from './encoder.ts';
import { readPixels } from './pixels.ts';

export interface EdgeOptions {
  /** Threads of the encoder network; default: the processors this process may use, at most 4. */
  threads?: number;
  /**
   * The encoder's threads spin while they wait for work, which takes the processors from everything else; default: no
   * (docs/decisions/0006-idle-threads-sleep.md).
   */
  spin?: boolean;
  /** Photos with more are refused; default 40. */
  maxMegapixels?: number;
}

/**
 * An edge on Node: sharp for photos, ONNX Runtime for the encoder.
 * @param bundle a loaded bundle, or its name or path
 * @throws BundleError
 */
export async function openEdge(bundle: Bundle | string, options: EdgeOptions = {}): Promise<Edge> {
  // more threads than 4 gain nothing on an encoder of 0.1 GMAC
  const threads = options.threads ?? Math.min(4, availableParallelism());
  return createEdge(typeof bundle === 'string' ? await openBundle(bundle) : bundle, {
    readPixels: (image, input) => readPixels(image, input, options.maxMegapixels),
    loadEncoder: (onnx, name, tensor, exitOutput) =>
      loadEncoder(onnx, name, tensor, exitOutput, { threads, spin: options.spin ?? false }),
  });
}
