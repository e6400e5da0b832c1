import { findPoint, type Bundle, type Precision } from '@raccoon/bundle';
import type { Edge, EncodedImage, ImageInput } from '@raccoon/edge';
import { openEdge } from '@raccoon/edge/node';
import { PROTOCOL_VERSION, TransportError, type Transport } from '@raccoon/transport';
import { connectGrpc, type ClientTls } from '@raccoon/transport/node';
import { RequestError, type Classification, type Failure, type Outcome } from './classification.ts';
import { Link } from './link.ts';

export interface ConnectOptions {
  /** `host:port` of a cloud, or a transport to it. */
  cloud: string | Transport;
  /** Paths of PEM files, or `true` for the authorities that Node knows; default: without TLS. */
  tls?: ClientTls | true;
  /** For a cloud that asks who is calling; it goes over TLS, or to this machine, only. */
  token?: string | (() => string);
  /** A loaded bundle, or its name or path; the same as the cloud's. */
  bundle: Bundle | string;
  /** Residual blocks n of the encoder; default: as the bundle says. */
  blocks?: number;
  /** Rate level q, 0 = fewest bits; default: as the bundle says. */
  rate?: number;
  /** Arithmetic of the encoder; default: as the bundle says. */
  precision?: Precision;
  /** Classes to return per image; default 5. */
  topK?: number;
  wantLogits?: boolean;
  /** Time for one image in the cloud, ms; default: no limit. */
  timeoutMs?: number;
  /** Background images are served from what is left, and refused first; default: no. */
  background?: boolean;
  /** The W3C traceparent of the span that an image belongs to, asked for each image that is sent. */
  traceparent?: () => string | undefined;
  /** Images sent and not yet answered, at most; default 8. */
  maxInFlight?: number;
  /** Threads of the encoder. */
  threads?: number;
  /** Photos with more are refused. */
  maxMegapixels?: number;
}

export type Images = Iterable<ImageInput> | AsyncIterable<ImageInput>;

/** image -> result, through an edge here and a cloud there. */
export interface Client {
  readonly bundle: Bundle;
  /** One image. @throws EdgeError, RequestError, TransportError, BundleError */
  classify(image: ImageInput): Promise<Classification>;
  /**
   * Many images: the next is encoded while others are on their way; outcomes come as they are ready, each with
   * the index of its image. An image that fails is an outcome, too, and stops nothing.
   */
  classify(images: Images): AsyncGenerator<Outcome>;
  /** Sends an image that is already encoded. @throws RequestError, TransportError */
  send(image: ImageInput, encoded: EncodedImage, index?: number): Promise<Classification>;
  readonly edge: Edge;
  close(): Promise<void>;
}

/**
 * Loads the edge half of a bundle and connects to a cloud.
 * @throws BundleError, TransportError (nobody there, another bundle, another protocol, no trust between the two)
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const { topK = 5, wantLogits = false, timeoutMs = 0, maxInFlight = 8, cloud, tls, token } = options;
  const edge = await openEdge(options.bundle, {
    ...(options.threads !== undefined && { threads: options.threads }),
    ...(options.maxMegapixels !== undefined && { maxMegapixels: options.maxMegapixels }),
  });
  const { bundle } = edge;
  const point = choosePoint(bundle, options.blocks, options.rate, options.precision);
  const transport = await reach();
  const link = new Link(transport, {
    protocolMin: PROTOCOL_VERSION,
    protocolMax: PROTOCOL_VERSION,
    codecIds: [bundle.codec.id],
    client: `@raccoon/client (${bundle.manifest.name} ${bundle.manifest.version})`,
  });
  try {
    await link.open();
  } catch (error) {
    await Promise.all([edge.close(), transport.close()]);
    throw error;
  }

  async function reach(): Promise<Transport> {
    if (typeof cloud !== 'string') return cloud;
    try {
      return connectGrpc(cloud, { ...(tls && { tls }), ...(token !== undefined && { token }) });
    } catch (error) {
      await edge.close();
      throw error;
    }
  }

  async function send(image: ImageInput, encoded: EncodedImage, index = 0): Promise<Classification> {
    const start = performance.now();
    const traceparent = options.traceparent?.();
    const response = await link.request({
      payload: encoded.slices[0]!,
      topK,
      wantLogits,
      timeoutMs,
      ...(options.background && { priority: 1 }),
      ...(traceparent && { traceparent }),
    });
    const roundTripMs = performance.now() - start;
    if (response.error) {
      const { code, message, retryAfterMs } = response.error;
      // about the cloud, not about this image
      if (code === 'draining') throw new TransportError(code, message, { retryAfterMs });
      throw new RequestError(code, message, retryAfterMs);
    }
    const { top, margin, logits } = response.result;
    return {
      image,
      index,
      top: top.map((score) => ({ ...score, ...bundle.manifest.classes[score.index]! })),
      margin,
      ...(logits && { logits }),
      point: encoded.point,
      bytes: encoded.bytes,
      bpp: encoded.bpp,
      imageMs: encoded.imageMs,
      encodeMs: encoded.encoderMs + encoded.codecMs,
      roundTripMs,
      queueMs: response.queueMs,
      decodeMs: response.decodeMs,
      inferMs: response.inferMs,
      bundleVersion: response.bundleVersion,
    };
  }

  async function* classifyMany(images: Images): AsyncGenerator<Outcome> {
    const iterator =
      Symbol.asyncIterator in images ? images[Symbol.asyncIterator]() : images[Symbol.iterator]();
    const running = new Set<Promise<void>>();
    const ready: Outcome[] = [];
    const start = (task: Promise<Outcome>): void => {
      const settled = task.then((outcome) => {
        running.delete(settled);
        ready.push(outcome);
      });
      running.add(settled);
    };
    let index = 0;
    let next: Promise<IteratorResult<ImageInput>> | undefined;
    let more = true;
    try {
      while (more || running.size > 0) {
        if (more && running.size < maxInFlight) next ??= Promise.resolve(iterator.next());
        const taken = await Promise.race([...(next ? [next] : []), ...running]);
        if (taken) {
          next = undefined;
          if (taken.done) {
            more = false;
          } else {
            const image = taken.value;
            const at = index++;
            const failed = (error: unknown): Failure => ({ image, index: at, error: error as Error });
            // Encoded one after another: the processor is the edge's bottleneck. Sent without waiting for answers.
            try {
              const encoded = await edge.encode(image, point);
              start(send(image, encoded, at).catch(failed));
            } catch (error) {
              ready.push(failed(error));
            }
          }
        }
        while (ready.length > 0) yield ready.shift()!;
      }
    } finally {
      await iterator.return?.();
    }
  }

  function classify(image: ImageInput): Promise<Classification>;
  function classify(images: Images): AsyncGenerator<Outcome>;
  function classify(input: ImageInput | Images): Promise<Classification> | AsyncGenerator<Outcome> {
    // a path and a file's bytes are iterable, too, but one image each
    const single = typeof input === 'string' || input instanceof Uint8Array || 'data' in input;
    return single ? edge.encode(input, point).then((encoded) => send(input, encoded)) : classifyMany(input);
  }

  return {
    bundle,
    edge,
    classify,
    send,
    async close() {
      await link.close();
      await edge.close();
    },
  };
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
