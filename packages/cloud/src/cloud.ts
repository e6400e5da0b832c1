import { availableParallelism } from 'node:os';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { defaultLimits } from '@raccoon/transport';
import { serveGrpc } from '@raccoon/transport/node';
import type { BatchLimits } from './queue.ts';
import { CloudService } from './service.ts';
import { WorkerPool } from './worker-pool.ts';

export interface CloudOptions extends Partial<BatchLimits> {
  /** A loaded bundle, or its name or path. */
  bundle: Bundle | string;
  /** `host:port`; port 0 takes a free one. Default 127.0.0.1:50051. */
  listen?: string;
  /** Worker threads; default: one for every two processors. */
  workers?: number;
  /** The largest payload that is read, bytes. */
  maxPayloadBytes?: number;
  /** Unanswered requests of one stream, at most. */
  maxInFlight?: number;
}

/** What an option is when it is left out. */
export const DEFAULTS: Readonly<
  Required<Pick<CloudOptions, 'listen' | 'maxPayloadBytes' | 'maxInFlight'>> & BatchLimits
> = {
  listen: '127.0.0.1:50051',
  maxBatch: 16,
  maxBatchDelayMs: 0, // waiting while a worker is idle only pays under load, and then batches fill by themselves
  maxQueue: 256,
  ...defaultLimits,
};

/** A running service. */
export interface Cloud {
  /** `host:port` it listens on. */
  readonly address: string;
  readonly port: number;
  readonly bundle: Bundle;
  readonly workers: number;
  /** Takes nothing new, finishes what is in flight within `graceMs`, ends workers and sockets. */
  close(graceMs?: number): Promise<void>;
}

/** The service without sockets: for one process, and for `startCloud`. */
export interface LocalService {
  readonly service: CloudService;
  readonly bundle: Bundle;
  readonly workers: number;
  /** Lets running batches finish, then ends the workers. */
  close(): Promise<void>;
}

/**
 * Loads a bundle and warms the workers up.
 * @throws BundleError
 */
export async function openService(options: CloudOptions): Promise<LocalService> {
  const bundle = typeof options.bundle === 'string' ? await openBundle(options.bundle) : options.bundle;
  const { manifest } = bundle;
  const processors = availableParallelism();
  const workers = options.workers ?? Math.max(1, Math.floor(processors / 2));
  const limits: BatchLimits = {
    maxBatch: options.maxBatch ?? DEFAULTS.maxBatch,
    maxBatchDelayMs: options.maxBatchDelayMs ?? DEFAULTS.maxBatchDelayMs,
    maxQueue: options.maxQueue ?? DEFAULTS.maxQueue,
  };
  const codecs = [];
  for (const { id, tables } of manifest.codecs) codecs.push({ id, tables: await bundle.read(tables) });
  const pool: WorkerPool = new WorkerPool(
    {
      codecs,
      decoder: await bundle.read(manifest.decoder.file),
      classifier: await bundle.read(manifest.classifier.file),
      latent: manifest.latent,
      // workers x threads stay within the processors
      threads: Math.max(1, Math.floor(processors / workers)),
    },
    () => service.workerFreed(),
  );
  const service: CloudService = new CloudService(bundle, pool, limits);
  await pool.start(workers);
  // only after the last batch: a thread that is killed inside ONNX Runtime aborts the process
  return { service, bundle, workers, close: () => pool.stop() };
}

/**
 * Opens the service and only then listens.
 * @throws BundleError, TransportError (the address is taken)
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const local = await openService(options);
  let server: Awaited<ReturnType<typeof serveGrpc>>;
  try {
    server = await serveGrpc(local.service, {
      listen: options.listen ?? DEFAULTS.listen,
      maxPayloadBytes: options.maxPayloadBytes ?? DEFAULTS.maxPayloadBytes,
      maxInFlight: options.maxInFlight ?? DEFAULTS.maxInFlight,
    });
  } catch (error) {
    await local.close();
    throw error;
  }
  return {
    address: server.address,
    port: server.port,
    bundle: local.bundle,
    workers: local.workers,
    async close(graceMs = 10_000) {
      local.service.drain();
      await server.drain(graceMs);
      await local.close();
    },
  };
}
