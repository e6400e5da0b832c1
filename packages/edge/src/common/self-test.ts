import { pointName } from '@raccoon/bundle';
import { decodeBitstream } from '@raccoon/codec';
import type { Edge } from './edge.ts';
import { EdgeError } from './errors.ts';

/**
 * Runs every encoder of the edge's bundle on one made-up image and codes it at each of its points: what hashes cannot
 * tell is whether this machine's runtime has every operator of the graphs, and gives numbers.
 * @throws EdgeError `encoder`, `self-test`, BundleError about a file
 */
export async function selfTest(edge: Edge): Promise<void> {
  const { manifest, codecs, codec } = edge.bundle;
  const { width, height } = manifest.input;
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 2654435761) >>> 24);
  for (const [point, operating] of manifest.points.entries()) {
    const fail = (what: string): EdgeError =>
      new EdgeError('self-test', `${manifest.name} ${manifest.version} ${pointName(operating)}: ${what}`);
    const image = await edge.encode({ data, width, height }, point, { exit: true });
    if (image.exitLogits?.some((logit) => !Number.isFinite(logit))) {
      throw fail('the local exit gives logits that are no numbers');
    }
    const read = decodeBitstream(image.slices, codecs);
    if (read.codec.id !== codec.id || read.point !== point || differ(read.symbols, image.symbols)) {
      throw fail('what was coded is not what is decoded');
    }
  }
}

function differ(a: Int16Array, b: Int16Array): boolean {
  return a.length !== b.length || a.some((symbol, i) => symbol !== b[i]);
}
