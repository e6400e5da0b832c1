import { findPoint, type Bundle, type ExitCalibration, type Precision } from '@raccoon/bundle';
import {
  createPolicy,
  type Edge,
  type EncodedImage,
  type ImageInput,
  type Limits,
  type LinkStats,
  type Policy,
  type PolicyName,
  type PolicyOptions,
  type QueueStats,
} from '@raccoon/edge';
import { errorTable, PROTOCOL_VERSION, TransportError } from '@raccoon/transport';
import type { ReconnectOptions } from './backoff.ts';
import type { Classification, Outcome } from './classification.ts';
import { Classifier } from './classifier.ts';
import { ClientEvents } from './events.ts';
import { LinkEstimate } from './link-estimate.ts';
import { Link } from './link.ts';
import { classifyAll, type Images } from './pipeline.ts';
import { MAX_STREAMS } from './pool.ts';
import type { ProgressiveOptions } from './progressive.ts';
import { fixedReplicas, type Dialled, type Replicas } from './replicas.ts';

/** What does not depend on the platform. Without `policy`, 'auto', or `exitThreshold` every image is sent at one fixed point. */
export interface ClientOptions extends Limits {
  /** Residual blocks n of the encoder; default: as the bundle says. `auto`: as the policy `auto` does. */
  blocks?: number | 'auto';
  /** Rate level q, 0 = fewest bits; default: as the bundle says. `auto`: as the policy `auto` does. */
  rate?: number | 'auto';
  /** Arithmetic of the encoder; default: as the bundle says. */
  precision?: Precision;
  /** Who chooses point and place for each image; default: `fixed`, or `threshold` if there is an `exitThreshold`. */
  policy?: PolicyName | Policy;
  /** D0: the local exit answers if its margin is above it. */
  exitThreshold?: number;
  /** What `raccoon calibrate` measured of the local exit; default: the bundle's. */
  calibration?: readonly ExitCalibration[];
  /** What `raccoon bench` measured of this device. */
  profile?: PolicyOptions['profile'];
  /** Classes to return per image; default 5. */
  topK?: number;
  wantLogits?: boolean;
  /** Time for one image in the cloud, ms; default: no limit. */
  timeoutMs?: number;
  /** Background images are served from what is left, and refused first; default: no. */
  background?: boolean;
  /** Send an image slice by slice, until the cloud is sure; default: whole (docs/results/progressive.md says why). */
  progressive?: ProgressiveOptions;
  /** The W3C traceparent of the span that an image belongs to, asked for each image that is sent. */
  traceparent?: () => string | undefined;
  /** Of many, images under way at any time, at most; default 8. */
  maxInFlight?: number;
  /**
   * Streams at a time, at most; default: one to each replica, up to 8, and every image goes where its answer can be expected
   * first. 1: the other replicas are for when one is gone. More than there are addresses: several through a balancer.
   */
  streams?: number;
  /** How a link that broke is opened again. `false`: not at all, before the next image; and nothing is sent twice. */
  reconnect?: ReconnectOptions | false;
  /** Aborted while connecting, it ends that; later it closes the client. */
  signal?: AbortSignal;
}

export interface ClassifyOptions {
  /** Ends it, in the cloud as well: everything that is not answered fails with 'cancelled'. */
  signal?: AbortSignal;
}

/** image -> result, through an edge here and a cloud there. */
export interface Client {
  readonly bundle: Bundle;
  readonly edge: Edge;
  /** Chooses for each image; `save` and `restore` keep what it has learned. */
  readonly policy: Policy;
  /** What happens to the link. */
  readonly events: ClientEvents;
  /** What is known of the link, and of the time that an image takes in the cloud. */
  stats(): LinkStats & QueueStats;
  /** One image. @throws EdgeError, RequestError, TransportError, BundleError, ClientError */
  classify(image: ImageInput, options?: ClassifyOptions): Promise<Classification>;
  /**
   * Many images: the next is encoded while others are on their way; outcomes come as they are ready, each with
   * the index of its image. An image that fails is an outcome, too, and stops nothing. Images are taken from their source
   * no faster than outcomes are taken from here.
   */
  classify(images: Images, options?: ClassifyOptions): AsyncGenerator<Outcome>;
  /** Sends an image that is already encoded, past the policy. @throws RequestError, TransportError */
  send(
    image: ImageInput,
    encoded: EncodedImage,
    index?: number,
    options?: ClassifyOptions,
  ): Promise<Classification>;
  close(): Promise<void>;
}

/**
 * A client over an edge and a cloud: ways to its replicas, or what finds them. Where the local exit may answer, it starts without a link as well.
 * @param release what `close` does once the link is closed
 * @throws TransportError (nobody there, another bundle, another protocol, no trust between the two), BundleError about the
 * point or the calibration, RangeError for settings that make no sense
 */
export async function createClient(
  edge: Edge,
  cloud: Replicas | readonly (() => Dialled)[],
  options: ClientOptions = {},
  release: () => Promise<void> = () => edge.close(),
): Promise<Client> {
  const { topK = 5, maxInFlight = 8, deadlineMs = Infinity, reconnect = {}, signal } = options;
  const replicas =
    'ways' in cloud ? cloud : fixedReplicas(cloud.map((dial, i) => ({ address: `cloud ${i + 1}`, dial })));
  const { streams = replicas.fixed ? Math.min(replicas.ways.length, MAX_STREAMS) : undefined } = options;
  const { bundle } = edge;
  const { manifest } = bundle;
  for (const [name, value] of Object.entries({ topK, maxInFlight, streams: streams ?? 1 })) {
    if (!Number.isInteger(value) || value < 1)
      throw new RangeError(`${name} must be a whole number of at least 1, not ${value}`);
  }
  if (!(deadlineMs > 0)) throw new RangeError(`deadlineMs must be above 0, not ${deadlineMs}`);
  const policy = policyOf(options, bundle);
  for (const encoder of policy.encoders ?? []) await edge.load(encoder);
  const fixed = policy.name === 'fixed' && deadlineMs === Infinity;
  const usesExit = manifest.exit !== undefined && !fixed;
  const events = new ClientEvents();
  const estimate = new LinkEstimate();
  const link = new Link({
    replicas,
    streams,
    hello: {
      protocolMin: PROTOCOL_VERSION,
      protocolMax: PROTOCOL_VERSION,
      codecIds: [bundle.codec.id],
      client: `@raccoon/client (${manifest.name} ${manifest.version})`,
    },
    events,
    witness: estimate,
    reconnect,
  });
  const classifier = new Classifier({
    edge,
    link,
    estimate,
    policy,
    usesExit,
    calibrations: options.calibration ?? manifest.exit?.calibration ?? [],
    deadlineMs,
    timeoutMs: options.timeoutMs ?? 0,
    topK,
    wantLogits: options.wantLogits ?? false,
    background: options.background ?? false,
    progressive: options.progressive,
    traceparent: options.traceparent ?? (() => undefined),
  });

  try {
    await link.open(signal);
  } catch (cause) {
    const error = TransportError.from(cause);
    // what waiting may cure, while the local exit answers
    if (!(usesExit && reconnect !== false && errorTable[error.code].retry)) {
      await link.close();
      throw error;
    }
    link.openLater(error);
  }

  const aborted = (): void => void close();
  signal?.addEventListener('abort', aborted);

  async function close(): Promise<void> {
    signal?.removeEventListener('abort', aborted);
    await link.close();
    await release();
  }

  function classify(image: ImageInput, options?: ClassifyOptions): Promise<Classification>;
  function classify(images: Images, options?: ClassifyOptions): AsyncGenerator<Outcome>;
  function classify(
    input: ImageInput | Images,
    { signal: stop }: ClassifyOptions = {},
  ): Promise<Classification> | AsyncGenerator<Outcome> {
    // a path and a file's bytes are iterable, too, but one image each
    const single = typeof input === 'string' || input instanceof Uint8Array || 'data' in input;
    if (!single) return classifyAll(input, edge, classifier, maxInFlight, stop);
    const task = { image: input, index: 0, since: performance.now(), signal: stop };
    return classifier.classify(task, edge.prepare(input));
  }

  return {
    bundle,
    edge,
    policy,
    events,
    stats: () => estimate.stats(performance.now()),
    classify,
    send: (image, encoded, index = 0, { signal: stop } = {}) =>
      classifier.send({ image, index, since: performance.now(), signal: stop }, encoded),
    close,
  };
}

function policyOf(options: ClientOptions, { manifest }: Bundle): Policy {
  const { policy, blocks, rate, precision, exitThreshold, profile, calibration } = options;
  const { deadlineMs, bytesPerSecond, cpuShare } = options;
  if (typeof policy === 'object') return policy;
  const unasked = exitThreshold === undefined ? 'fixed' : 'threshold';
  const name = policy ?? (blocks === 'auto' || rate === 'auto' ? 'auto' : unasked);
  return createPolicy(name, {
    manifest,
    limits: {
      ...(deadlineMs !== undefined && { deadlineMs }),
      ...(bytesPerSecond !== undefined && { bytesPerSecond }),
      ...(cpuShare !== undefined && { cpuShare }),
    },
    ...(profile && { profile }),
    ...(calibration && { calibration }),
    ...(blocks !== undefined && blocks !== 'auto' && { blocks }),
    ...(rate !== undefined && rate !== 'auto' && { rate }),
    ...(precision && { precision }),
    ...(exitThreshold !== undefined && { threshold: exitThreshold }),
  });
}

/**
 * The operating point for n blocks, rate level q and the encoder's arithmetic, each the default point's when left out.
 * @throws BundleError `unknown-point`
 */
export function choosePoint(bundle: Bundle, blocks?: number, rate?: number, precision?: Precision): number {
  const { manifest } = bundle;
  const fallback = manifest.points[manifest.defaultPoint]!;
  return findPoint(manifest, blocks ?? fallback.n, rate ?? fallback.q, precision ?? fallback.precision);
}
