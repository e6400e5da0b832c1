import { readFile } from 'node:fs/promises';
import { stemOf, type Bundle } from '@raccoon/bundle';
import { quantise } from '@raccoon/codec';
import { toTensor, type ImageInput } from '@raccoon/edge';
import { openEdge, readPixels } from '@raccoon/edge/node';
import { encodeImage, type ImageCodec } from './codecs.ts';
import type { Answer, Sent, Way } from './evaluate.ts';
import { openNetworks, type Networks } from './networks.ts';
import { countParameters } from './onnx.ts';
import { topClasses } from './ranking.ts';
import { openZstd, packFloats, unpackFloats, type RawType } from './raw.ts';

/*
 * What Raccoon is measured against: other ways of the same photos to the same classifier. None has a socket: what is
 * sent is the file or the features, without any framing.
 */

interface SentBytes extends Sent {
  payload: Uint8Array;
}

interface Answered extends Sent {
  answer: Answer;
}

/** The unsplit network, the whole of it on the edge; no byte is sent. @throws BundleError `no-stem` */
export async function openUnsplitWay(bundle: Bundle, threads?: number): Promise<Way<Answered>> {
  const { input, classifier } = bundle.manifest;
  const stem = stemOf(bundle.manifest);
  const networks = openNetworks(bundle, threads);
  return {
    edgeMacs: stem.macs + classifier.macs,
    edgeParameters: await parametersOf(bundle, stem.file, classifier.file),
    inFlight: 1,
    async encode(photo) {
      const pixels = await readPixels(photo, input);
      const start = performance.now();
      const top = await classifyPixels(networks, pixels, bundle);
      return {
        bytes: 0,
        encodeMs: performance.now() - start,
        entropyMs: null,
        answer: { top, cloudMs: 0 },
      };
    },
    answer: async ({ answer }) => answer,
    close: () => networks.release(),
  };
}

/** The photo's file as it is, the unsplit network in the cloud. @throws BundleError `no-stem` */
export async function openOriginalWay(bundle: Bundle, threads?: number): Promise<Way<SentBytes>> {
  return fileWay(bundle, threads, async (photo) => {
    if (typeof photo !== 'string')
      throw new RangeError('original is the file as it is: nothing can be added to it');
    const payload = await readFile(photo);
    return { payload, encodeMs: 0 };
  });
}

/** The photo at the network's size by an image codec, the unsplit network in the cloud. @throws BundleError `no-stem` */
export async function openImageWay(
  bundle: Bundle,
  codec: ImageCodec,
  threads?: number,
): Promise<Way<SentBytes>> {
  const { input } = bundle.manifest;
  return fileWay(bundle, threads, async (photo) => {
    const pixels = await readPixels(photo, input);
    const start = performance.now();
    const payload = await encodeImage(pixels, input.width, input.height, codec);
    return { payload, encodeMs: performance.now() - start };
  });
}

function fileWay(
  bundle: Bundle,
  threads: number | undefined,
  encode: (photo: ImageInput) => Promise<{ payload: Uint8Array; encodeMs: number }>,
): Way<SentBytes> {
  stemOf(bundle.manifest);
  const networks = openNetworks(bundle, threads);
  return {
    edgeMacs: 0,
    edgeParameters: 0,
    inFlight: 1,
    async encode(photo) {
      const { payload, encodeMs } = await encode(photo);
      return { payload, bytes: payload.length, encodeMs, entropyMs: null };
    },
    async answer({ payload }) {
      const start = performance.now();
      const top = await classifyPixels(networks, await readPixels(payload, bundle.manifest.input), bundle);
      return { top, cloudMs: performance.now() - start };
    },
    close: () => networks.release(),
  };
}

/** Features of the unsplit network where it was split, by zstd. @throws BundleError `no-stem` */
export async function openStemWay(
  bundle: Bundle,
  type: RawType,
  level: number,
  threads?: number,
): Promise<Way<SentBytes>> {
  const { input } = bundle.manifest;
  const stem = stemOf(bundle.manifest);
  const networks = openNetworks(bundle, threads);
  await openZstd();
  return {
    edgeMacs: stem.macs,
    edgeParameters: await parametersOf(bundle, stem.file),
    inFlight: 1,
    async encode(photo) {
      const pixels = await readPixels(photo, input);
      const start = performance.now();
      const features = await networks.stem(toTensor(pixels, input));
      return packed(features, type, level, start);
    },
    answer: ({ payload }) => timed(async () => topOf(await networks.classify(unpackFloats(payload, type)))),
    close: () => networks.release(),
  };
}

/** The latent of an operating point's encoder by zstd, in place of rounding and rANS; the cloud rounds it as the edge would have. */
export async function openLatentWay(
  bundle: Bundle,
  point: number,
  type: RawType,
  level: number,
  threads?: number,
): Promise<Way<SentBytes>> {
  const { manifest, codec } = bundle;
  const { n, precision = 'float32', encoder, edgeMacs } = manifest.points[point]!;
  const plane = manifest.latent.height * manifest.latent.width;
  const edge = await openEdge(bundle, threads === undefined ? {} : { threads });
  const networks = openNetworks(bundle, threads);
  await openZstd();
  return {
    edgeMacs,
    edgeParameters: await parametersOf(bundle, encoder),
    inFlight: 1,
    async encode(photo) {
      const prepared = await edge.prepare(photo);
      const start = performance.now();
      const { latent } = await edge.analyse(prepared, { n, precision });
      return packed(latent, type, level, start);
    },
    answer: ({ payload }) =>
      timed(async () => {
        const symbols = quantise(unpackFloats(payload, type), plane, point, codec.tables);
        return topOf(await networks.classify(await networks.decode(symbols, point)));
      }),
    async close() {
      await edge.close();
      await networks.release();
    },
  };
}

const topOf = (logits: Float32Array): number[] => topClasses(logits, 5);

async function classifyPixels(
  networks: Networks,
  pixels: Uint8Array,
  { manifest }: Bundle,
): Promise<number[]> {
  return topOf(await networks.classify(await networks.stem(toTensor(pixels, manifest.input))));
}

/** @param start when the encoder began */
function packed(values: Float32Array, type: RawType, level: number, start: number): SentBytes {
  const before = performance.now();
  const payload = packFloats(values, type, level);
  const end = performance.now();
  return { payload, bytes: payload.length, encodeMs: end - start, entropyMs: end - before };
}

async function timed(run: () => Promise<number[]>): Promise<Answer> {
  const start = performance.now();
  const top = await run();
  return { top, cloudMs: performance.now() - start };
}

async function parametersOf(bundle: Bundle, ...files: string[]): Promise<number> {
  let sum = 0;
  for (const file of files) sum += countParameters(await bundle.read(file));
  return sum;
}
