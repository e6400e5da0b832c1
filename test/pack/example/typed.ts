// Every entry of the packages, as a strict TypeScript program sees it. Compiled, not run.
import { BundleError, type Bundle, type Manifest } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { connect, isFailure, type Classification, type Outcome } from '@raccoon/client';
import { watch, type LiveImages } from '@raccoon/client/sources';
import { decodeBitstream, type Codec } from '@raccoon/codec';
import { EdgeError, type EncodedImage } from '@raccoon/edge';
import { openEdge } from '@raccoon/edge/node';
import { RansTables, decode, encode } from '@raccoon/rans-coder';
import { TransportError, type InferenceService, type Transport } from '@raccoon/transport';
import { serveMemory } from '@raccoon/transport/memory';
import { connectGrpc, serveGrpc } from '@raccoon/transport/node';

export async function labels(cloud: string, photos: string[]): Promise<string[]> {
  const bundle: Bundle = await openBundle('imagenet1k-mobilenet');
  const transport: Transport = connectGrpc(cloud);
  const client = await connect({ cloud: transport, bundle });
  const one: Classification = await client.classify(photos[0]!);
  const found = [one.top[0]!.name];
  for await (const outcome of client.classify(photos)) found.push(label(outcome));
  await client.close();
  return found;
}

function label(outcome: Outcome): string {
  if (!isFailure(outcome)) return outcome.top[0]!.name;
  const { error } = outcome;
  if (error instanceof EdgeError || error instanceof TransportError || error instanceof BundleError)
    return error.code;
  return error.message;
}

export async function inTime(cloud: string, folder: string, stop: AbortSignal): Promise<number> {
  const edge = await connect({ cloud, bundle: 'imagenet1k-mobilenet', policy: 'auto', deadlineMs: 500 });
  edge.events.on('reconnecting', ({ attempt, error }) => attempt > 10 && error.code);
  const live: LiveImages<string> = watch(folder, { signal: stop });
  let degraded = 0;
  for await (const outcome of edge.classify(live, { signal: stop })) {
    if (!isFailure(outcome) && outcome.degraded) degraded++;
  }
  return degraded + live.dropped;
}

export async function roundTrip(photo: string): Promise<Int16Array | Int32Array> {
  const edge = await openEdge('imagenet1k-mobilenet', { threads: 1 });
  const { slices }: EncodedImage = await edge.encode(photo);
  const codecs: ReadonlyMap<string, Codec> = edge.bundle.codecs;
  return decodeBitstream(slices, codecs).symbols;
}

export function threeSymbols(): Int32Array {
  const tables = RansTables.fromFrequencies([{ offset: -1, frequencies: [8000, 48000, 9000, 536] }]);
  const indexes = new Uint16Array(3);
  return decode(encode(Int16Array.of(0, 1, -1), indexes, tables), indexes, tables);
}

export function points({ points: all }: Manifest): string[] {
  return all.map(({ n, q }) => `n=${n} q=${q}`);
}

export const servers: ((service: InferenceService) => unknown)[] = [
  (service) => serveMemory(service),
  (service) => serveGrpc(service, { listen: '127.0.0.1:0', maxInFlight: 8, maxPayloadBytes: 65_536 }),
];

// What is not there is an error, not `any`.
// @ts-expect-error no such option
await connect({ cloud: 'localhost:50051', bundle: 'x', blokcs: 4 });
