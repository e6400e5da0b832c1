import { availableParallelism } from 'node:os';
import type { DeviceProfileRow, Envelope, EnvelopePoint } from '@raccoon/edge';
import * as ort from 'onnxruntime-node';
import { convNetMacs, convNetOnnx, type ConvNet } from './onnx.ts';
import { quantile } from './ranking.ts';

export interface EnvelopeOptions {
  /** Threads of a run; default: the processors this process may use, at most 4, as an edge's. */
  threads?: number;
  /** Default: no. */
  spin?: boolean;
  /** A third of the sizes, one shape of each. */
  quick?: boolean;
  /** Networks with more are left out; default: none. */
  mostMacs?: number;
  seed?: number;
  onProgress?: (done: number, total: number) => void;
}

/** Channels and layers. A size in multiply-accumulates gives each of them its resolution. */
const SHAPES: readonly Omit<ConvNet, 'resolution'>[] = [
  { width: 32, depth: 4 },
  { width: 16, depth: 4 },
  { width: 64, depth: 2 },
  { width: 128, depth: 8 },
];
const MIN_RESOLUTION = 4;
const MAX_RESOLUTION = 640;

const LEAST_EXPONENT = 6; // 1e6 multiply-accumulates
const MOST_EXPONENT = 10;
const STEPS_A_DECADE = 3;

const WARM_UPS = 2;
const REPEATS = 50;
/** Large networks are run less often. */
const MOST_MS = 600;
const LEAST_REPEATS = 3;

/** The networks of a sweep: a logarithmic grid of multiply-accumulates times the shapes that can have so many, rising. */
export function envelopeNets(quick = false): ConvNet[] {
  const nets: ConvNet[] = [];
  const shapes = quick ? SHAPES.slice(0, 1) : SHAPES;
  const step = quick ? STEPS_A_DECADE : 1;
  for (let i = 0; i <= (MOST_EXPONENT - LEAST_EXPONENT) * STEPS_A_DECADE; i += step) {
    const macs = 10 ** (LEAST_EXPONENT + i / STEPS_A_DECADE);
    for (const { width, depth } of shapes) {
      const resolution = Math.round(Math.sqrt(macs / (9 * depth * width * width)));
      if (resolution >= MIN_RESOLUTION && resolution <= MAX_RESOLUTION)
        nets.push({ width, depth, resolution });
    }
  }
  return nets.toSorted((a, b) => convNetMacs(a) - convNetMacs(b));
}

/** Times each of the networks on this device, one image a run. */
export async function measureEnvelope({
  threads = Math.min(4, availableParallelism()),
  spin = false,
  quick = false,
  mostMacs = Infinity,
  seed = 1,
  onProgress,
}: EnvelopeOptions = {}): Promise<Envelope> {
  const nets = envelopeNets(quick).filter((net) => convNetMacs(net) <= mostMacs);
  const points: EnvelopePoint[] = [];
  for (const net of nets) {
    points.push(await timeNet(net, threads, spin, seed));
    onProgress?.(points.length, nets.length);
  }
  return { threads, spin, ...boundOf(points), encoders: [] };
}

async function timeNet(net: ConvNet, threads: number, spin: boolean, seed: number): Promise<EnvelopePoint> {
  const session = await ort.InferenceSession.create(convNetOnnx(net, seed), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: spin ? '1' : '0' } } },
  });
  const { width, resolution } = net;
  const input = new Float32Array(width * resolution * resolution).fill(0.5);
  const feeds = { x: new ort.Tensor('float32', input, [1, width, resolution, resolution]) };
  for (let i = 0; i < WARM_UPS; i++) await session.run(feeds);
  const times: number[] = [];
  for (let spent = 0; times.length < REPEATS && (spent < MOST_MS || times.length < LEAST_REPEATS);) {
    const start = performance.now();
    await session.run(feeds);
    const ms = performance.now() - start;
    times.push(ms);
    spent += ms;
  }
  await session.release();
  const ms = quantile(times, 0.5);
  const macs = convNetMacs(net);
  return { ...net, macs, ms, macsPerSecond: (1000 * macs) / ms };
}

/**
 * The bound that measured points show: the most multiply-accumulates a second up to each, and the knee, the first point
 * with 90 % of the most (thesis of H. Kong, 2023, section 3.3: from there on, more work takes more time).
 * @param points by rising macs, at least one
 */
export function boundOf(points: readonly EnvelopePoint[]): Pick<Envelope, 'points' | 'bound' | 'knee'> {
  let most = 0;
  const bound = points.map(({ macsPerSecond }) => (most = Math.max(most, macsPerSecond)));
  return {
    points: [...points],
    bound,
    knee: points.find(({ macsPerSecond }) => macsPerSecond >= 0.9 * most)!,
  };
}

/** How much of the bound each encoder reaches: its multiply-accumulates a second in the network alone, of the bound's. */
export function withUtilisation(envelope: Envelope, rows: readonly DeviceProfileRow[]): Envelope {
  const alike = rows.filter(({ threads, spin }) => threads === envelope.threads && spin === envelope.spin);
  const encoders = alike.map(({ n, precision, macs, encoderMs }) => {
    const macsPerSecond = (1000 * macs) / encoderMs.p50;
    return { n, precision, macs, macsPerSecond, utilisation: macsPerSecond / boundAt(envelope, macs) };
  });
  return { ...envelope, encoders };
}

/** The bound at so many multiply-accumulates: that of the largest network that is no larger. */
function boundAt({ points, bound }: Envelope, macs: number): number {
  const behind = points.findIndex((point) => point.macs > macs);
  return bound[Math.max(0, (behind < 0 ? points.length : behind) - 1)]!;
}

/**
 * Whether a larger network would cost no time: for people. Below the knee time grows more slowly than work; a device
 * whose smallest network is already at the knee gives nothing away.
 */
export function headRoom({ points, knee }: Envelope): string {
  const first = points[0]!;
  if (knee.macs === first.macs) {
    return `no free head-room: the rate is flat from ${millions(first.macs)} multiply-accumulates on, so more work always takes more time`;
  }
  return (
    `head-room up to ${millions(knee.macs)} multiply-accumulates: below it, time grows more slowly than work ` +
    `(${first.ms.toFixed(2)} ms for ${millions(first.macs)}, ${knee.ms.toFixed(2)} ms at the knee)`
  );
}

function millions(macs: number): string {
  return `${(macs / 1e6).toFixed(macs < 1e7 ? 1 : 0)} M`;
}
