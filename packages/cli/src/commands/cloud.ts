import {
  DEFAULTS,
  endOnSignals,
  LOG_LEVELS,
  startCloud,
  type CloudOptions,
  type LogLevel,
} from '@raccoon/cloud';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_BUNDLE, whole } from '../options.ts';

interface CloudFlags {
  bundle?: string[];
  modelRepository?: string;
  trustKey?: string[];
  listen: string;
  http?: string;
  httpOrigin?: string[];
  tlsCert?: string;
  tlsKey?: string;
  tlsCa?: string;
  tokens?: string;
  insecure?: true;
  workers?: number;
  backend?: string;
  backendCa?: string;
  backendTimeoutMs: number;
  backendBatches: number;
  maxBatch: number;
  maxBatchDelayMs: number;
  maxQueue: number;
  maxQueueBytes: number;
  maxQueueMs: number;
  rateLimit?: number;
  maxInFlight: number;
  maxPayloadBytes: number;
  maxConnectionAgeSeconds: number;
  drainSeconds: number;
  drainGraceSeconds: number;
  metricsPort?: string;
  adminPort?: string;
  adminToken?: string;
  logLevel: LogLevel;
}

const number = (flags: string, text: string, min: number, fallback: number): Option =>
  new Option(flags, text).argParser(whole(min)).default(fallback);

const several = (flags: string, text: string): Option =>
  new Option(flags, text).argParser((value: string, before?: string[]) => [...(before ?? []), value]);

function rate(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError('it must be a number above 0.');
  return value;
}

export function cloudCommand(): Command {
  return new Command('cloud')
    .description('Serve the cloud half of bundles over gRPC.')
    .addOption(
      several(
        '-b, --bundle <name or path>',
        `a model; repeatable (default: "${DEFAULT_BUNDLE}", unless a repository is given)`,
      ),
    )
    .option('--model-repository <folder>', 'serve every bundle in it, and follow its changes')
    .addOption(several('--trust-key <file>', 'serve only what this public key has signed; repeatable'))
    .option('-l, --listen <host:port>', 'address; port 0 takes a free one', DEFAULTS.listen)
    .option('--http <host:port>', 'the endpoint for browsers, as well')
    .addOption(several('--http-origin <origin>', 'whose pages may call it; repeatable, * for all'))
    .option('--tls-cert <file>', 'certificate chain, PEM; read again when it changes')
    .option('--tls-key <file>', 'its private key, PEM')
    .option('--tls-ca <file>', 'who signs client certificates: every client needs one')
    .option('--tokens <file>', 'who may call; `raccoon token` makes its lines')
    .option('--insecure', 'allow other machines without TLS')
    .addOption(
      new Option(
        '--workers <count>',
        'processes that run the network (default: half the processors)',
      ).argParser(whole(1)),
    )
    .option(
      '--backend <url>',
      'another server that runs the network: oip://host:port/model, oips:// with TLS',
    )
    .option('--backend-ca <file>', 'who signs its certificate (default: whom Node trusts)')
    .addOption(
      number(
        '--backend-timeout-ms <ms>',
        'of a batch, its second try included',
        1,
        DEFAULTS.backendTimeoutMs,
      ),
    )
    .addOption(
      number(
        '--backend-batches <count>',
        'batches of one worker that it has at a time',
        1,
        DEFAULTS.backendBatches,
      ),
    )
    .addOption(number('--max-batch <images>', 'images that run together', 1, DEFAULTS.maxBatch))
    .addOption(
      number('--max-batch-delay-ms <ms>', 'how long a batch waits for company', 0, DEFAULTS.maxBatchDelayMs),
    )
    .addOption(number('--max-queue <requests>', 'requests that wait; more are refused', 1, DEFAULTS.maxQueue))
    .addOption(number('--max-queue-bytes <bytes>', 'payloads that wait', 1, DEFAULTS.maxQueueBytes))
    .addOption(number('--max-queue-ms <ms>', 'how long a request waits', 1, DEFAULTS.maxQueueMs))
    .addOption(
      new Option('--rate-limit <images/s>', 'of one caller, unless its token says otherwise').argParser(rate),
    )
    .addOption(
      number('--max-in-flight <requests>', 'unanswered requests of one stream', 1, DEFAULTS.maxInFlight),
    )
    .addOption(number('--max-payload-bytes <bytes>', 'of one image', 1, DEFAULTS.maxPayloadBytes))
    .addOption(
      number('--max-connection-age-seconds <s>', 'then a client is told to connect anew; 0: never', 0, 0),
    )
    .addOption(number('--drain-seconds <s>', 'from SIGTERM to the end, at most', 0, DEFAULTS.drainMs / 1000))
    .addOption(
      number(
        '--drain-grace-seconds <s>',
        'of these, how long it still serves after it says NOT_SERVING',
        0,
        0,
      ),
    )
    .option('--metrics-port <[host:]port>', '/metrics, /healthz and /readyz')
    .option('--admin-port <[host:]port>', 'admin calls')
    .option('--admin-token <file>', 'a file with the token of admin calls; needed beyond this machine')
    .addOption(new Option('--log-level <level>', 'of stderr').choices([...LOG_LEVELS]).default('warn'))
    .addHelpText(
      'after',
      `
SIGTERM or Ctrl-C drains, and exits with 0; a second one ends at once, with 143 or 130.
Every flag, metric and admin call: docs/operations.md

Examples:
  raccoon cloud                                        on this machine only, port 50051
  raccoon cloud --listen 127.0.0.1:0                   prints the port it got
  raccoon cloud --listen 0.0.0.0:50051 --tls-cert cloud.pem --tls-key cloud.key --tokens tokens.json
  raccoon cloud --listen 0.0.0.0:50051 --insecure --workers 4
  raccoon cloud --http 127.0.0.1:8080 --http-origin https://app.example     for browsers, too: docs/web.md
  raccoon cloud --backend oip://127.0.0.1:8001         Triton, KServe, ... runs the network: docs/oip.md
  raccoon cloud --model-repository models --trust-key release.pub --metrics-port 9090 --admin-port 9091`,
    )
    .action(cloud);
}

async function cloud(flags: CloudFlags): Promise<void> {
  const running = await startCloud(toOptions(flags));
  // before the line that tells others that it runs, and may be ended
  endOnSignals(running, flags.drainSeconds * 1000, () => process.stdout.write('raccoon cloud: draining\n'));
  const { address, workers, bundle, httpAddress, metricsAddress, adminAddress } = running;
  const { name, version } = bundle.manifest;
  const beside = [
    ...(httpAddress ? [`HTTP endpoint on ${httpAddress}`] : []),
    ...(flags.backend !== undefined ? [`the network runs at ${flags.backend}`] : []),
    ...(metricsAddress ? [`metrics on ${metricsAddress}`] : []),
    ...(adminAddress ? [`admin on ${adminAddress}`] : []),
  ].map((where) => `raccoon cloud: ${where}\n`);
  process.stdout.write(
    `raccoon cloud: ${name} ${version} on ${address}, ${workers} worker${workers > 1 ? 's' : ''}. Ctrl-C drains and ends.\n${beside.join('')}`,
  );
}

function toOptions(flags: CloudFlags): CloudOptions {
  const { tlsCert, tlsKey, tlsCa } = flags;
  if ((tlsCert === undefined) !== (tlsKey === undefined) || (tlsCa !== undefined && tlsCert === undefined)) {
    throw new Error('--tls-cert and --tls-key belong together, and --tls-ca needs both');
  }
  if (flags.httpOrigin !== undefined && flags.http === undefined) {
    throw new Error('--http-origin is about the HTTP endpoint: give --http, too');
  }
  if (flags.backendCa !== undefined && flags.backend === undefined) {
    throw new Error('--backend-ca is about the backend: give --backend, too');
  }
  if (flags.adminToken !== undefined && flags.adminPort === undefined) {
    throw new Error('--admin-token guards admin calls: give --admin-port, too');
  }
  if (flags.drainGraceSeconds > 0 && flags.drainGraceSeconds >= flags.drainSeconds) {
    throw new Error('--drain-grace-seconds is part of --drain-seconds: leave time for what is in flight');
  }
  const noBundle = flags.modelRepository === undefined ? [DEFAULT_BUNDLE] : [];
  return {
    bundle: flags.bundle ?? noBundle,
    listen: flags.listen,
    maxBatch: flags.maxBatch,
    maxBatchDelayMs: flags.maxBatchDelayMs,
    maxQueue: flags.maxQueue,
    maxQueueBytes: flags.maxQueueBytes,
    maxQueueMs: flags.maxQueueMs,
    maxInFlight: flags.maxInFlight,
    maxPayloadBytes: flags.maxPayloadBytes,
    maxConnectionAgeMs: flags.maxConnectionAgeSeconds * 1000,
    drainMs: flags.drainSeconds * 1000,
    drainGraceMs: flags.drainGraceSeconds * 1000,
    logLevel: flags.logLevel,
    insecure: flags.insecure ?? false,
    ...(tlsCert !== undefined &&
      tlsKey !== undefined && {
        tls: { cert: tlsCert, key: tlsKey, ...(tlsCa !== undefined && { ca: tlsCa }) },
      }),
    ...(flags.http !== undefined && { httpListen: flags.http }),
    ...(flags.httpOrigin && { httpOrigins: flags.httpOrigin }),
    ...(flags.modelRepository !== undefined && { modelRepository: flags.modelRepository }),
    ...(flags.trustKey && { trustKeys: flags.trustKey }),
    ...(flags.tokens !== undefined && { tokens: flags.tokens }),
    ...(flags.workers !== undefined && { workers: flags.workers }),
    ...(flags.backend !== undefined && {
      backend: {
        url: flags.backend,
        timeoutMs: flags.backendTimeoutMs,
        batches: flags.backendBatches,
        ...(flags.backendCa !== undefined && { ca: flags.backendCa }),
      },
    }),
    ...(flags.rateLimit !== undefined && { imagesPerSecond: flags.rateLimit }),
    ...(flags.metricsPort !== undefined && { metricsListen: flags.metricsPort }),
    ...(flags.adminPort !== undefined && { adminListen: flags.adminPort }),
    ...(flags.adminToken !== undefined && { adminToken: flags.adminToken }),
  };
}
