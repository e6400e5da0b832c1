import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { readPublicKey, type Bundle, type PublicKey } from '@raccoon/bundle';
import { defaultLimits } from '@raccoon/transport';
import {
  serveGrpc,
  serveHttp,
  type Authenticate,
  type GrpcServer,
  type HttpFallback,
  type HttpServer,
  type ServerTls,
} from '@raccoon/transport/node';
import { adminHandler } from './admin.ts';
import type { AdmissionLimits } from './admission.ts';
import { Backend } from './backend.ts';
import { parseBackend } from './backend-target.ts';
import { CloudError } from './errors.ts';
import { isLoopback, listenHttp, parseAddress, type HttpListener } from './http.ts';
import { Lifecycle, type Phase } from './lifecycle.ts';
import { createLog, RequestLog, type Log, type LogLevel } from './log.ts';
import { Metrics } from './metrics.ts';
import type { Observer } from './observer.ts';
import { Pipeline, type PipelineBackend, type PipelineLimits, type PipelineStats } from './pipeline.ts';
import { probeHandler } from './probes.ts';
import { Repository, type ModelStatus } from './repository.ts';
import { CloudService } from './service.ts';
import { Tokens } from './tokens.ts';
import { RequestTraces } from './tracing.ts';

/** What runs requests, without sockets. */
export interface ServiceParts extends Partial<PipelineLimits & AdmissionLimits> {
  /** Loaded bundles, or their names or paths; the first answers to an empty name. */
  bundle?: Bundle | string | readonly (Bundle | string)[];
  /** A folder of bundles, `name/` or `name/version/`, that is looked at now and then. */
  modelRepository?: string;
  /** Files with public keys: only what one of them has signed is served. */
  trustKeys?: readonly string[];
  /** Worker processes; default: one for every two processors. */
  workers?: number;
  /** Another server that runs the networks (docs/oip.md); absent: the workers do. */
  backend?: ServiceBackend;
  /** Allows `listen` and `backend` beyond this machine without TLS. */
  insecure?: boolean;
}

/** A server of the Open Inference Protocol: Triton, KServe, OpenVINO Model Server, MLServer. */
export interface ServiceBackend {
  /** `oip://host:port/model`, `oips://` with TLS; in the model's name `{name}` and `{version}` are the bundle's. Default `{name}`. */
  url: string;
  /** PEM file of who signs its certificate; absent: the authorities that Node knows. */
  ca?: string;
  /** For a batch, with a second try, ms. Default 5,000. */
  timeoutMs?: number;
  /** Batches of one worker that are there at a time. Default 4. */
  batches?: number;
}

export interface CloudOptions extends ServiceParts {
  /** `host:port`; port 0 takes a free one. Default 127.0.0.1:50051. */
  listen?: string;
  /** `host:port` of the HTTP endpoint, for browsers (docs/web.md); absent: none. */
  httpListen?: string;
  /** Origins whose pages may call it, such as `https://example.org`, or `*`; absent: those of its own address only. */
  httpOrigins?: readonly string[];
  /** Answers what comes to it and is not the endpoint's: a page, say. */
  httpFallback?: HttpFallback;
  /** Paths of PEM files, for `listen` and `httpListen`; they are read again when they change. */
  tls?: ServerTls;
  /** A file of tokens; without it everyone may call. It is read again when it changes. */
  tokens?: string;
  /** Of one image, all its slices together, at most. */
  maxPayloadBytes?: number;
  /** Unanswered requests of one stream, at most. */
  maxInFlight?: number;
  /** After that long a connection is told to go elsewhere, ms; 0, the default: never. */
  maxConnectionAgeMs?: number;
  /** `host:port` or a port of this machine for /metrics, /healthz and /readyz; absent: none. */
  metricsListen?: string;
  /** The same for admin calls. */
  adminListen?: string;
  /** A file with the token that admin calls must show; needed beyond this machine. */
  adminToken?: string;
  /** What an admin call's drain may take, ms. Default 10,000. */
  drainMs?: number;
  /** How long it goes on serving, at a drain, after it has said NOT_SERVING; for load balancers to notice. Default 0. */
  drainGraceMs?: number;
  /** To stderr. Default `silent`. */
  logLevel?: LogLevel;
}

/** What an option is when it is left out. */
export const DEFAULTS: Readonly<
  Required<Pick<CloudOptions, 'listen' | 'maxPayloadBytes' | 'maxInFlight' | 'drainMs' | 'drainGraceMs'>> & {
    backendTimeoutMs: number;
    backendBatches: number;
  } & PipelineLimits &
    AdmissionLimits
> = {
  listen: '127.0.0.1:50051',
  maxBatch: 16,
  maxBatchDelayMs: 0, // waiting while a worker is idle only pays under load, and then batches fill by themselves
  maxQueue: 256,
  maxQueueBytes: 16 << 20, // 256 of the largest payloads
  maxQueueMs: 5000,
  maxBatchMs: 30_000,
  maxSliceMs: 10_000,
  imagesPerSecond: Infinity,
  drainMs: 10_000,
  drainGraceMs: 0,
  backendTimeoutMs: 5000,
  backendBatches: 4,
  ...defaultLimits,
};

/** Of this package. */
const VERSION = (createRequire(import.meta.url)('../package.json') as { version: string }).version;
/** Between two looks at the model repository, ms. */
const POLL_MS = 2000;

/** A running service. */
export interface Cloud {
  /** `host:port` it listens on. */
  readonly address: string;
  readonly port: number;
  /** The one that answers to an empty name. */
  readonly bundle: Bundle;
  readonly workers: number;
  /** `host:port` of the HTTP endpoint. */
  readonly httpAddress: string | undefined;
  /** `host:port` of /metrics, /healthz and /readyz. */
  readonly metricsAddress: string | undefined;
  readonly adminAddress: string | undefined;
  status(): CloudStatus;
  /** Looks for new and changed bundles now. */
  reload(): Promise<readonly ModelStatus[]>;
  /**
   * Says NOT_SERVING, takes nothing new, finishes what is in flight within `graceMs`, ends workers and sockets. A second
   * call waits for the first.
   */
  close(graceMs?: number): Promise<void>;
  /** Breaks every link and kills the workers, now. */
  kill(): void;
}

/** How a service is, for people. */
export interface CloudStatus {
  readonly phase: Phase;
  readonly ready: boolean;
  /** Why it is not. */
  readonly why?: string;
  readonly address: string;
  readonly connections: number;
  readonly pipeline: PipelineStats;
  readonly models: readonly ModelStatus[];
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
 * Loads bundles and warms the workers up.
 * @throws BundleError, CloudError
 */
export async function openService(options: ServiceParts): Promise<LocalService> {
  const { service, repository, workers, pipeline, backend } = await openParts(
    options,
    createLog('silent'),
    [],
    () => undefined,
  );
  const close = async (): Promise<void> => {
    await pipeline.stop();
    backend?.close();
  };
  return { service, bundle: repository.all[0]!.bundle, workers, close };
}

/**
 * Opens the service and only then listens; says SERVING once everything is warm.
 * @throws BundleError, CloudError, TransportError (the address is taken)
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  checkOptions(options);
  const log = createLog(options.logLevel ?? 'silent');
  const closers: (() => unknown)[] = []; // what is open, in reverse
  try {
    return await start(options, log, closers);
  } catch (error) {
    for (const close of closers.toReversed()) await close();
    throw error;
  }
}

async function start(options: CloudOptions, log: Log, closers: (() => unknown)[]): Promise<Cloud> {
  let parts: Parts | undefined;
  let server: GrpcServer | undefined;
  let httpServer: HttpServer | undefined;
  let closing: Promise<void> | undefined;
  let unauthenticated = 0;

  const adminToken = options.adminToken === undefined ? undefined : readAdminToken(options.adminToken);
  const tokens = options.tokens === undefined ? undefined : new Tokens(options.tokens, log);
  closers.push(() => tokens?.close());
  const known = new Set<string>(); // bundles that health has been told of
  const lifecycle = new Lifecycle({
    bundles: () => parts?.repository.all.map(({ bundle }) => bundle.manifest.name) ?? [],
    workersAlive: () => parts?.pipeline.stats.workers ?? 0,
    backendTrouble: () => parts?.backend?.notReady(),
    report(bundles, serving) {
      if (!server) return;
      const status = serving ? 'SERVING' : 'NOT_SERVING';
      for (const name of known) if (!bundles.includes(name)) server.health.set(name, undefined);
      known.clear();
      for (const name of bundles) server.health.set(name, status);
      for (const name of bundles) known.add(name);
      server.health.set('raccoon.v1.Raccoon', status);
    },
  });
  const observers: Observer[] = [new RequestLog(log), new RequestTraces()];

  const connections = (): number => (server?.connections ?? 0) + (httpServer?.connections ?? 0);
  const status = (): CloudStatus => {
    const why = lifecycle.notReady();
    return {
      phase: lifecycle.phase,
      ready: why === undefined,
      ...(why !== undefined && { why }),
      address: server?.address ?? '',
      connections: connections(),
      pipeline: parts?.pipeline.stats ?? NOTHING_RUNS,
      models: parts?.repository.status() ?? [],
    };
  };
  const close = (graceMs = DEFAULTS.drainMs): Promise<void> => (closing ??= drain(graceMs));

  let metricsListener: HttpListener | undefined;
  if (options.metricsListen !== undefined) {
    const metrics = new Metrics({
      pipeline: () => parts?.pipeline.stats ?? NOTHING_RUNS,
      models: () => parts?.repository.status() ?? [],
      modelFailures: () => parts?.repository.failures ?? new Map(),
      modelLoads: () => parts?.repository.loads ?? 0,
      ready: () => lifecycle.notReady() === undefined,
      draining: () => lifecycle.phase === 'draining',
      connections,
      certificateExpires: () => server?.certificateExpires,
      unauthenticated: () => unauthenticated,
      knows: (caller) => tokens?.has(caller) ?? false,
      ...(options.backend && {
        backendReady: () => parts?.backend !== undefined && parts.backend.notReady() === undefined,
      }),
    });
    observers.push(metrics);
    const probed = { metrics: () => metrics.text(), notReady: () => lifecycle.notReady() };
    metricsListener = await listenHttp('--metrics-port', options.metricsListen, probeHandler(probed));
    closers.push(() => metricsListener?.close());
  }

  const opened = await openParts(options, log, observers, () => lifecycle.refresh());
  parts = opened;
  const { repository, pipeline, service, workers, backend } = opened;
  closers.push(() => pipeline.stop(0));
  closers.push(() => backend?.close());

  let adminListener: HttpListener | undefined;
  if (options.adminListen !== undefined) {
    const administered = { repository, log, status, drain: () => void close(options.drainMs) };
    adminListener = await listenHttp(
      '--admin-port',
      options.adminListen,
      adminHandler(administered, adminToken),
    );
    closers.push(() => adminListener?.close());
  }

  const authenticate: Authenticate | undefined =
    tokens &&
    (({ token, peer }) => {
      try {
        return tokens.caller(token);
      } catch (error) {
        if (unauthenticated++ === 0)
          log.warn({ peer }, 'a call without a token that is known; more are only counted');
        throw error;
      }
    });
  const limits = {
    maxPayloadBytes: options.maxPayloadBytes ?? DEFAULTS.maxPayloadBytes,
    maxInFlight: options.maxInFlight ?? DEFAULTS.maxInFlight,
    ...(authenticate && { authenticate }),
  };
  if (options.httpListen !== undefined) {
    httpServer = await serveHttp(service, {
      ...limits,
      listen: options.httpListen,
      ...(options.httpOrigins && { allowOrigins: options.httpOrigins }),
      ...(options.httpFallback && { fallback: options.httpFallback }),
      ...(options.tls && { tls: options.tls }),
    });
    closers.push(() => httpServer?.close());
  }
  server = await serveGrpc(service, {
    ...limits,
    listen: options.listen ?? DEFAULTS.listen,
    maxConnectionAgeMs: options.maxConnectionAgeMs ?? 0,
    oip: { models: service, version: VERSION },
    ...(options.tls && { tls: { ...options.tls, onReload: certificateLog(log) } }),
  });
  const { address, port } = server;
  lifecycle.enter('serving');
  if (options.modelRepository !== undefined) repository.watch(POLL_MS);
  log.info({ address, http: httpServer?.address, workers, bundles: [...known] }, 'serving');

  async function drain(graceMs: number): Promise<void> {
    const end = performance.now() + graceMs;
    const left = (): number => Math.max(0, end - performance.now());
    log.info({ graceMs, ...pipeline.stats }, 'draining');
    lifecycle.enter('draining');
    service.draining = true;
    repository.close();
    const grace = Math.min(options.drainGraceMs ?? DEFAULTS.drainGraceMs, left() / 2);
    if (grace > 0) await sleep(grace); // load balancers look away meanwhile; what still comes is served
    const forCalls = 0.9 * left();
    await Promise.all([server!.drain(forCalls), httpServer?.drain(forCalls)]);
    await pipeline.stop(left());
    backend?.close();
    lifecycle.enter('ended');
    metricsListener?.close();
    adminListener?.close();
    tokens?.close();
    log.info({}, 'ended');
  }

  return {
    address,
    port,
    get bundle() {
      return repository.all[0]!.bundle;
    },
    workers,
    httpAddress: httpServer?.address,
    metricsAddress: metricsListener?.address,
    adminAddress: adminListener?.address,
    status,
    reload: () => repository.reload(),
    close,
    kill() {
      server.close();
      httpServer?.close();
      void pipeline.stop(0);
      log.flush();
    },
  };
}

/** What `openService` and `startCloud` have in common. */
interface Parts {
  readonly repository: Repository;
  readonly pipeline: Pipeline;
  readonly service: CloudService;
  readonly workers: number;
  /** Who runs the networks, if not the workers. */
  readonly backend: Backend | undefined;
}

async function openParts(
  options: ServiceParts,
  log: Log,
  observers: readonly Observer[],
  onChange: () => void,
): Promise<Parts> {
  const trust = options.trustKeys && (await readTrust(options.trustKeys));
  const processors = availableParallelism();
  const workers = options.workers ?? Math.max(1, Math.floor(processors / 2));
  const threads = Math.max(1, Math.floor(processors / workers)); // workers x threads stay within the processors
  const limits = { ...DEFAULTS, ...options };
  const observer = everyOne(observers, onChange);
  const remote = options.backend && backendOf(options.backend, limits.maxBatchMs, options.insecure ?? false);
  const pipeline = new Pipeline({ limits, workers, threads, observer, backend: remote });
  const { maxBatchMs } = limits;
  const backend = remote && new Backend({ ...remote, pipeline, maxBatchMs, log, onChange });
  const { bundle = [], modelRepository: folder } = options;
  const bundles = typeof bundle === 'string' || 'manifest' in bundle ? [bundle] : bundle;
  const repository = new Repository({ host: backend ?? pipeline, log, bundles, folder, trust, onChange });
  await pipeline.start();
  try {
    await repository.open();
    backend?.opened();
  } catch (error) {
    backend?.close();
    await pipeline.stop(0);
    throw error;
  }
  const service = new CloudService({ models: repository, pipeline: backend ?? pipeline, observer, limits });
  return { repository, pipeline, service, workers, backend };
}

/** @throws CloudError 'option', 'insecure' */
function backendOf(
  { url, ca, timeoutMs = DEFAULTS.backendTimeoutMs, batches = DEFAULTS.backendBatches }: ServiceBackend,
  maxBatchMs: number,
  insecure: boolean,
): PipelineBackend {
  if (timeoutMs >= maxBatchMs) {
    throw new CloudError(
      'option',
      `--backend-timeout-ms ${timeoutMs}: a worker is killed after ${maxBatchMs} ms`,
    );
  }
  return { target: parseBackend(url, ca, insecure), timeoutMs, batches };
}

/** All of them; what workers do changes what the service may say of itself. */
function everyOne(observers: readonly Observer[], onWorkers: () => void): Observer {
  return {
    arrived() {
      for (const observer of observers) observer.arrived();
    },
    ended(request, end) {
      for (const observer of observers) observer.ended(request, end);
    },
    batch(batch) {
      for (const observer of observers) observer.batch(batch);
    },
    worker(event, worker) {
      for (const observer of observers) observer.worker(event, worker);
      setImmediate(onWorkers); // when the pipeline has done with it, too
    },
  };
}

const NOTHING_RUNS: PipelineStats = {
  waiting: 0,
  bytes: 0,
  oldestMs: 0,
  inFlight: 0,
  incomplete: 0,
  incompleteBytes: 0,
  workers: 0,
  imagesPerSecond: 0,
  utilisation: 0,
};

/** What would open the service wider than its operator said, or cannot work, before anything is loaded. */
function checkOptions(options: CloudOptions): void {
  const { listen = DEFAULTS.listen, httpListen, adminListen, adminToken, tls, insecure } = options;
  for (const [flag, address] of Object.entries({ '--listen': listen, '--http': httpListen })) {
    if (address === undefined) continue;
    const [, host] = /^(.+):\d+$/.exec(address) ?? [];
    if (host === undefined) throw new CloudError('option', `${flag} takes host:port, not "${address}"`);
    if (!tls && !insecure && !isLoopback(host.replace(/^\[(.*)\]$/, '$1'))) {
      throw new CloudError(
        'insecure',
        `${flag} ${address} is open to other machines: give --tls-cert and --tls-key, or --insecure on a network that you trust`,
      );
    }
  }
  if (adminListen !== undefined) {
    const admin = parseAddress('--admin-port', adminListen);
    if (adminToken === undefined && !isLoopback(admin.host)) {
      throw new CloudError(
        'insecure',
        `--admin-port ${adminListen} is open to other machines: give --admin-token, or a port alone for this machine`,
      );
    }
  }
  if (options.metricsListen !== undefined) parseAddress('--metrics-port', options.metricsListen);
  const { bundle = [], modelRepository } = options;
  if (Array.isArray(bundle) && bundle.length === 0 && modelRepository === undefined) {
    throw new CloudError('no-bundle', 'nothing to serve: name a bundle with --bundle or --model-repository');
  }
}

function readTrust(files: readonly string[]): Promise<PublicKey[]> {
  return Promise.all(files.map((file) => readPublicKey(readOption('--trust-key', file), file)));
}

function readAdminToken(file: string): string {
  const token = readOption('--admin-token', file).trim();
  if (token.length < 16) {
    throw new CloudError(
      'tokens',
      `--admin-token ${file} has fewer than 16 characters: \`raccoon token\` makes one`,
    );
  }
  return token;
}

function readOption(flag: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new CloudError('option', `${flag} ${file} cannot be read`, { cause });
  }
}

function certificateLog(log: Log): (error?: Error) => void {
  return (error) => {
    if (error) log.error({ error: error.message }, 'TLS files kept as they were');
    else log.info({}, 'TLS files read');
  };
}
