import { arch, availableParallelism, platform, totalmem } from 'node:os';
import type { Bundle, Precision } from '@raccoon/bundle';
import type { DeviceProfile, DeviceProfileRow } from '@raccoon/edge';
import { openEdge, thisDevice } from '@raccoon/edge/node';
import { env } from 'onnxruntime-node';
import { peakMemory, resetPeakMemory } from './peak-memory.ts';
import { openPowerMeter, type PowerMeter } from './power.ts';
import { mean, quantile } from './ranking.ts';

export interface DeviceBenchOptions {
  /** Only encoders with so many blocks; default: all. */
  blocks?: number;
  /** Only encoders of this arithmetic; default: all. */
  precision?: Precision;
  /** Rate level that is coded; default: that of the bundle's default point. */
  rate?: number;
  /** Threads of the encoder, each measured; default: 1, and as many as processors, at most 4. */
  threads?: readonly number[];
  /** Whether its idle threads spin, each measured; default: no. */
  spin?: readonly boolean[];
  /** Default 10. */
  warmUps?: number;
  /** Default 50. */
  repeats?: number;
  /** Watts of one busy processor, for a modelled power where none can be measured. */
  cpuWatts?: number;
  onProgress?: (done: number, total: number) => void;
}

/**
 * What this device can do with a bundle's encoders: each of them on the photos in turn, through the edge that users run.
 * The method is EDLAB's (thesis of H. Kong, 2023, section 3.2: warm-ups, then repeats at batch size 1), with what a split
 * network has besides: decoding of the photo, entropy coding, and bytes.
 * @throws EdgeError about a photo, RangeError when nothing is left to measure
 */
export async function benchDevice(
  bundle: Bundle,
  photos: readonly string[],
  options: DeviceBenchOptions = {},
): Promise<DeviceProfile> {
  const { threads = defaultThreads(), spin = [false], warmUps = 10, repeats = 50, onProgress } = options;
  const { manifest } = bundle;
  const points = pointsOf(bundle, options);
  const ways = points.flatMap((point) =>
    threads.flatMap((count) => spin.map((spins) => ({ point, threads: count, spin: spins }))),
  );
  if (ways.length === 0) throw new RangeError(`${manifest.name} has no encoder for these options`);
  const meter = openPowerMeter(options.cpuWatts);
  const rows: DeviceProfileRow[] = [];
  for (const way of ways) {
    rows.push(await benchRow(bundle, photos, way, warmUps, repeats, meter));
    onProgress?.(rows.length, ways.length);
  }
  return {
    format: 'raccoon-profile',
    version: 1,
    measuredAt: new Date().toISOString(),
    device: {
      ...thisDevice(),
      memoryBytes: totalmem(),
      platform: `${platform()} ${arch()}`,
      node: process.versions.node,
      onnxRuntime: env.versions.node ?? env.versions.common,
    },
    bundle: { name: manifest.name, version: manifest.version },
    photos: photos.length,
    warmUps,
    repeats,
    rows,
  };
}

function defaultThreads(): number[] {
  return [...new Set([1, Math.min(4, availableParallelism())])];
}

/** One point of each encoder that was asked for. */
function pointsOf({ manifest }: Bundle, { blocks, precision, rate }: DeviceBenchOptions): number[] {
  const { points, defaultPoint } = manifest;
  const wanted = rate ?? points[defaultPoint]!.q;
  return [...points.keys()].filter((index) => {
    const point = points[index]!;
    return (
      point.q === wanted &&
      point.n === (blocks ?? point.n) &&
      (point.precision ?? 'float32') === (precision ?? point.precision ?? 'float32')
    );
  });
}

/** One encoder in one way, in an edge of its own. */
async function benchRow(
  bundle: Bundle,
  photos: readonly string[],
  { point, threads, spin }: { point: number; threads: number; spin: boolean },
  warmUps: number,
  repeats: number,
  meter: PowerMeter | undefined,
): Promise<DeviceProfileRow> {
  const { n, q, precision = 'float32', edgeMacs: macs } = bundle.manifest.points[point]!;
  const photo = (i: number): string => photos[i % photos.length]!;
  resetPeakMemory();
  const edge = await openEdge(bundle, { threads, spin });
  try {
    const first = await edge.prepare(photo(0));
    const opened = performance.now();
    await edge.encode(first, point);
    const loadMs = performance.now() - opened;

    const imageMs: number[] = [];
    const encoderMs: number[] = [];
    const codecMs: number[] = [];
    const totalMs: number[] = [];
    const sizes: number[] = [];
    for (let i = -warmUps; i < repeats; i++) {
      const start = performance.now();
      const encoded = await edge.encode(photo(i + warmUps), point);
      const took = performance.now() - start;
      if (i < 0) continue;
      imageMs.push(encoded.imageMs);
      encoderMs.push(encoded.encoderMs);
      codecMs.push(encoded.codecMs);
      totalMs.push(took);
      sizes.push(encoded.bytes);
    }

    meter?.start();
    const start = performance.now();
    let next = edge.prepare(photo(0));
    for (let i = 1; i <= repeats; i++) {
      const image = await next;
      next = edge.prepare(photo(i)); // while this one is encoded
      await edge.encode(image, point);
    }
    const seconds = (performance.now() - start) / 1000;
    const joules = meter?.joules();
    await next;

    const imagesPerSecond = repeats / seconds;
    return {
      n,
      precision,
      threads,
      spin,
      q,
      loadMs,
      imageMs: spread(imageMs),
      encoderMs: spread(encoderMs),
      codecMs: spread(codecMs),
      totalMs: spread(totalMs),
      imagesPerSecond,
      macs,
      macsPerSecond: imagesPerSecond * macs,
      bytes: mean(sizes),
      peakRssBytes: peakMemory(),
      ...(meter &&
        joules !== undefined && {
          power: { watts: joules / seconds, joulesPerImage: joules / repeats, source: meter.source },
        }),
    };
  } finally {
    await edge.close();
  }
}

function spread(values: readonly number[]): { p50: number; p95: number } {
  return { p50: quantile(values, 0.5), p95: quantile(values, 0.95) };
}
