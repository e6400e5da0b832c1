import type { Bundle } from '@raccoon/bundle';
import { connect } from '@raccoon/client';
import { openService } from '@raccoon/cloud';
import { estimateBits, flushBytes, HEADER_BYTES } from '@raccoon/codec';
import type { EncodedImage, ImageInput } from '@raccoon/edge';
import { serveMemory } from '@raccoon/transport/memory';
import type { Sent, Way } from './evaluate.ts';
import { countParameters } from './onnx.ts';
import { mean, topClasses } from './ranking.ts';
import { startWireMeter } from './wire-meter.ts';

/** Where the bytes of an image go, means per image. */
export interface ByteSplit {
  /** rANS words as the integer coding tables estimate them, without flush. */
  estimated: number;
  /** rANS words as written, without flush. */
  words: number;
  /** The coder's last states, 4 bytes a lane. */
  flush: number;
  header: number;
  /** On a warm stream: the message's fields around the bitstream, */
  protobuf: number;
  /** the prefix of each message, */
  grpc: number;
  /** and frame headers and frames of the connection's own. Without a socket all three are 0. */
  http2: number;
}

/** One operating point of a bundle. */
export interface PointWay extends Way<SentBitstream> {
  /** Of what was answered since `begin`. */
  split(): ByteSplit;
}

export interface PointWayOptions {
  /** `host:port` of a cloud that serves the bundle; absent: one in this process, without a socket. */
  cloud?: string | undefined;
  /** Run the local exit, too; then its time is part of `encodeMs`. */
  exit?: boolean;
  threads?: number;
}

interface SentBitstream extends Sent {
  photo: ImageInput;
  encoded: EncodedImage;
}

const GRPC_PREFIX_BYTES = 5; // compression flag (1), message length (4)
const IN_FLIGHT = 8;

/** Of a cloud that photos are evaluated by: a busy machine is no reason to refuse one of them. */
export const PATIENT: { readonly maxQueueMs: number } = { maxQueueMs: 600_000 };

/**
 * The way that users' images take: edge, client, TCP, cloud.
 * @throws Error: asked for an exit that the bundle does not have
 */
export async function openPointWay(
  bundle: Bundle,
  point: number,
  { cloud, exit = false, threads }: PointWayOptions,
): Promise<PointWay> {
  const { manifest, codec } = bundle;
  if (exit && !manifest.exit) {
    throw new Error(`${manifest.name} has no local exit: train and export it with this version`);
  }
  const { encoder, edgeMacs } = manifest.points[point]!;
  const { height: h, width: w } = manifest.latent;
  const meter = cloud === undefined ? undefined : await startWireMeter(cloud);
  const local = meter ? undefined : await openService({ ...PATIENT, bundle, workers: 1 });
  const client = await connect({
    cloud: local ? serveMemory(local.service).connect() : meter!.address,
    bundle,
    ...(threads !== undefined && { threads }),
  });
  let answered: { bytes: number; estimated: number; flush: number }[] = [];
  const wire = (): { sent: number; sentData: number } => meter?.read() ?? { sent: 0, sentData: 0 };

  return {
    edgeMacs,
    edgeParameters: countParameters(await bundle.read(encoder)),
    inFlight: IN_FLIGHT,
    async encode(photo) {
      const encoded = await client.edge.encode(photo, point, { exit });
      return {
        photo,
        encoded,
        bytes: encoded.bytes,
        encodeMs: encoded.encoderMs + encoded.codecMs,
        entropyMs: encoded.codecMs,
        ...(encoded.exitLogits && { exitClass: topClasses(encoded.exitLogits, 1)[0]! }),
      };
    },
    async answer({ photo, encoded }) {
      const { top, queueMs, decodeMs, inferMs } = await client.send(photo, encoded);
      answered.push({
        bytes: encoded.bytes,
        estimated: estimateBits(encoded.symbols, { h, w }, point, codec) / 8,
        flush: flushBytes(encoded.slices),
      });
      return { top: top.map(({ index }) => index), cloudMs: queueMs + decodeMs + inferMs };
    },
    begin() {
      answered = [];
      meter?.reset();
    },
    ...(meter && { wireBytes: () => wire().sent / answered.length }),
    split() {
      const of = (key: keyof (typeof answered)[number]): number => mean(answered.map((one) => one[key]));
      const { sent, sentData } = wire();
      return {
        estimated: of('estimated'),
        words: of('bytes') - HEADER_BYTES - of('flush'),
        flush: of('flush'),
        header: HEADER_BYTES,
        protobuf: meter ? sentData / answered.length - GRPC_PREFIX_BYTES - of('bytes') : 0,
        grpc: meter ? GRPC_PREFIX_BYTES : 0,
        http2: (sent - sentData) / answered.length,
      };
    },
    async close() {
      await client.close();
      meter?.close();
      await local?.close();
    },
  };
}
