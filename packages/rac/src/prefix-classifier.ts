import type { Bundle } from '@raccoon/bundle';
import { openService } from '@raccoon/cloud';
import { decodeBitstream, encodeBitstream } from '@raccoon/codec';
import type { Result } from '@raccoon/transport';
import { PATIENT } from './point-way.ts';

/** What a cloud in this process sees in the first channels of images. */
export interface PrefixClassifier {
  /** Of the first slices of an image, the symbols of the other channels 0; several at a time are a batch. */
  classify(slices: readonly Uint8Array[]): Promise<Result>;
  close(): Promise<void>;
}

/** No socket: what the codec decodes from the slices goes to the cloud's workers as one slice, which costs them nothing else. */
export async function openPrefixClassifier(bundle: Bundle): Promise<PrefixClassifier> {
  const { height: h, width: w } = bundle.manifest.latent;
  const cloud = await openService({ ...PATIENT, bundle });
  const context = { signal: new AbortController().signal, peer: 'local', caller: { name: 'local' } };
  return {
    async classify(slices) {
      const { symbols, point } = decodeBitstream(slices, bundle.codecs);
      const [payload] = encodeBitstream(symbols, { h, w }, point, bundle.codec);
      const { result, error } = await cloud.service.infer({ id: 1, payload: payload!, topK: 1 }, context);
      if (error) throw new Error(error.message);
      return result;
    },
    close: () => cloud.close(),
  };
}
