import type { ExitCalibration } from '@raccoon/bundle';
import {
  localAnswer,
  type Action,
  type AnalysedImage,
  type Edge,
  type EncodedImage,
  type ImageInput,
  type LocalAnswer,
  type Policy,
  type PreparedImage,
  type Situation,
} from '@raccoon/edge';
import { TransportError, type InferResponse, type Result } from '@raccoon/transport';
import { cascadeAnswer, CASCADE_CLASSES, cloudAnswer, exitAnswer, type Answer } from './answer.ts';
import type { Classification } from './classification.ts';
import { ClientError, RequestError } from './errors.ts';
import { follow } from './follow.ts';
import type { LinkEstimate } from './link-estimate.ts';
import type { Link } from './link.ts';
import { channelEndsAt, type ProgressiveOptions, type SlicedImage } from './progressive.ts';

/** An image that is to be classified. */
export interface Task {
  readonly image: ImageInput;
  /** Position among the images given. */
  readonly index: number;
  /** When it was there, `performance.now()`. */
  readonly since: number;
  readonly signal?: AbortSignal | undefined;
}

export interface ClassifierOptions {
  readonly edge: Edge;
  readonly link: Link;
  readonly estimate: LinkEstimate;
  readonly policy: Policy;
  /** Whether the encoder runs the local exit, too. */
  readonly usesExit: boolean;
  readonly calibrations: readonly ExitCalibration[];
  readonly deadlineMs: number;
  readonly timeoutMs: number;
  readonly topK: number;
  readonly wantLogits: boolean;
  readonly background: boolean;
  readonly progressive: ProgressiveOptions | undefined;
  readonly traceparent: () => string | undefined;
}

/** What the local exit says of an image. */
interface Exit {
  readonly logits: Float32Array;
  readonly said: LocalAnswer;
  readonly calibration: ExitCalibration | undefined;
}

/** What the encoder showed of an image, and what is to become of it. */
interface Decision {
  readonly analysed: AnalysedImage;
  readonly exit: Exit | undefined;
  readonly action: Action;
  /** The bitstream at a point of this encoder, in one slice. */
  readonly codeAt: (point: number) => EncodedImage;
}

/** What an image was on the link. */
interface Trip {
  /** Sent, each time. */
  bytes: number;
  /** Sent the last time: in slices, perhaps not all of the image. */
  lastBytes: number;
  answerMs?: number;
  cloudConfidence?: number | undefined;
}

/** An image in flight that has to be answered here at some time. */
interface Expiring {
  /** `performance.now()` */
  readonly at: number;
  expire(): void;
}

/** What a local answer and its timer need of the deadline, ms. */
const RESERVE_MS = 5;

/** One image from its pixels to its one answer, as the policy says. */
export class Classifier {
  readonly #options: ClassifierOptions;
  #last: Promise<unknown> = Promise.resolve();
  /** For how long an encoder may hold this thread up, ms: the longest of the last runs. */
  #blockMs = 0;
  /** Images whose cloud has a deadline, and a local exit that can answer instead. */
  readonly #expiring = new Set<Expiring>();
  /** Where slices end, by point. */
  readonly #channelEnds = new Map<number, number[]>();

  constructor(options: ClassifierOptions) {
    this.#options = options;
  }

  /**
   * @param onDecided called when the encoder is free for another image
   * @throws EdgeError, BundleError, CodecError about the image or its encoder; TransportError, RequestError, ClientError
   */
  async classify(
    task: Task,
    prepared: Promise<PreparedImage>,
    onDecided: () => void = () => undefined,
  ): Promise<Classification> {
    const { policy, deadlineMs } = this.#options;
    let decision: Decision;
    try {
      const image = await prepared;
      decision = await this.#inTurn(() => this.#decide(task, image));
    } finally {
      onDecided();
    }
    const { action, analysed, exit } = decision;
    const trip: Trip = { bytes: 0, lastBytes: 0 };
    let source: Classification['source'] | undefined;
    try {
      const classification = await this.#act(task, decision, trip);
      source = classification.source;
      return classification;
    } finally {
      const now = performance.now();
      const asDecided = source === (action.kind === 'send' ? 'cloud' : 'edge');
      policy.observe({
        now,
        action,
        encoder: analysed.encoder,
        encodeMs: analysed.imageMs + analysed.encoderMs,
        bytes: trip.bytes,
        inTime: asDecided && now - task.since <= deadlineMs,
        ...(trip.answerMs !== undefined && { answerMs: trip.answerMs }),
        ...(exit && { exitConfidence: exit.said.confidence }),
        ...(trip.cloudConfidence !== undefined && { cloudConfidence: trip.cloudConfidence }),
      });
    }
  }

  /** An image that is encoded already. @throws TransportError, RequestError */
  send(task: Task, encoded: EncodedImage): Promise<Classification> {
    const trip = { bytes: 0, lastBytes: 0 };
    return this.#ask(task, encoded, this.#slicesOf(encoded), undefined, trip);
  }

  /** One encoder at a time, in the order of their images: the next choice knows what this one took. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(run);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #decide({ since, signal }: Task, image: PreparedImage): Promise<Decision> {
    const { edge, policy, usesExit } = this.#options;
    throwIfAborted(signal);
    const encoder = policy.chooseEncoder(this.#situation(since));
    // No timer fires while an encoder runs: whose time would be over by then is answered now.
    const free = performance.now() + this.#blockMs;
    for (const waiting of this.#expiring) if (waiting.at < free) waiting.expire();
    const analysed = await edge.analyse(image, encoder, { exit: usesExit });
    throwIfAborted(signal);
    this.#blockMs = Math.max(analysed.encoderMs, 0.9 * this.#blockMs);
    const exit = this.#exitOf(analysed);
    const coded = new Map<number, EncodedImage>();
    const codeAt = (point: number): EncodedImage => {
      const known = coded.get(point) ?? edge.code(analysed, point);
      coded.set(point, known); // what is sent in the end is not coded again
      return known;
    };
    const action = policy.chooseAction(this.#situation(since), {
      encoder,
      encodeMs: analysed.imageMs + analysed.encoderMs,
      ...(exit && { exit: { confidence: exit.said.confidence, margin: exit.said.margin } }),
      bytesAt: (point) => codeAt(point).bytes,
    });
    return { analysed, exit, action, codeAt };
  }

  #situation(since: number): Situation {
    const now = performance.now();
    const stats = this.#options.estimate.stats(now);
    return { now, elapsedMs: now - since + this.#reserveMs, link: stats, queue: stats };
  }

  get #reserveMs(): number {
    const { usesExit, deadlineMs } = this.#options;
    return usesExit ? Math.min(RESERVE_MS, deadlineMs / 4) : 0;
  }

  #exitOf({ exitLogits, encoder }: AnalysedImage): Exit | undefined {
    if (!exitLogits) return undefined;
    const { calibrations, topK } = this.#options;
    const calibration = calibrations.find(
      ({ n, precision }) => n === encoder.n && precision === encoder.precision,
    );
    return { logits: exitLogits, said: localAnswer(exitLogits, calibration?.temperature, topK), calibration };
  }

  async #act(task: Task, decision: Decision, trip: Trip): Promise<Classification> {
    const { action, exit, codeAt } = decision;
    if (action.kind === 'drop') throw new ClientError('dropped', action.reason);
    if (action.kind === 'local') {
      if (!exit) throw new ClientError('dropped', `${action.reason}; and there is no local exit`);
      return this.#local(task, decision, exit, trip, action.degraded, action.reason);
    }
    try {
      const encoded = codeAt(action.point);
      const slices = this.#slicesOf(encoded, decision.analysed);
      const answer = await this.#ask(task, encoded, slices, exit, trip);
      return { ...answer, reason: action.reason };
    } catch (cause) {
      const error = cause as Error;
      if (!exit || isCancelled(error)) throw error;
      return this.#local(task, decision, exit, trip, true, `${action.reason}; ${error.message}`);
    }
  }

  #local(
    task: Task,
    { analysed, action }: Decision,
    { logits, said }: Exit,
    trip: Trip,
    degraded: boolean,
    reason: string,
  ): Classification {
    const { edge, topK } = this.#options;
    const { version } = edge.bundle.manifest;
    return this.#classification(task, exitAnswer(logits, said, edge.bundle.manifest, topK), {
      source: 'edge',
      degraded,
      reason,
      encoder: analysed.encoder,
      ...(action.kind === 'send' && { point: action.point }),
      bytes: trip.bytes,
      imageMs: analysed.imageMs,
      encodeMs: analysed.encoderMs,
      roundTripMs: 0,
      queueMs: 0,
      decodeMs: 0,
      inferMs: 0,
      bundleVersion: version,
    });
  }

  /** As it is, or cut as the options say. */
  #slicesOf({ slices, point }: EncodedImage, analysed?: AnalysedImage): SlicedImage {
    const { edge, progressive } = this.#options;
    const whole = (): Uint8Array => slices[0]!;
    if (!progressive || !analysed) return { slices, stopMargin: progressive?.stopMargin ?? 0, whole };
    const { stopMargin, shares = [0.75] } = progressive;
    const ends = this.#channelEnds.get(point) ?? channelEndsAt(edge.bundle, point, shares);
    this.#channelEnds.set(point, ends);
    return { slices: edge.code(analysed, point, { channelEnds: ends }).slices, stopMargin, whole };
  }

  /** The cloud's answer, with the local exit's added where the bundle is calibrated for that. */
  async #ask(
    task: Task,
    encoded: EncodedImage,
    slices: SlicedImage,
    exit: Exit | undefined,
    trip: Trip,
  ): Promise<Classification> {
    const { edge, topK, wantLogits } = this.#options;
    const { manifest } = edge.bundle;
    const { point, imageMs, encoderMs, codecMs } = encoded;
    const cascade = exit?.calibration?.alpha === undefined ? undefined : { ...exit, ...exit.calibration };
    const classes = cascade && !wantLogits ? Math.max(topK, CASCADE_CLASSES) : topK;
    const start = performance.now();
    const { result, ...response } = await this.#request(task, slices, classes, trip, exit !== undefined);
    const roundTripMs = performance.now() - start;
    trip.answerMs = roundTripMs;
    trip.cloudConfidence = result.top[0]?.probability;
    const answer = cascade
      ? cascadeAnswer(result, cascade.logits, cascade.alpha, manifest, topK)
      : cloudAnswer(result, manifest);
    const { n, precision = 'float32' } = manifest.points[point]!;
    const { queueMs, decodeMs, inferMs, bundleVersion } = response;
    return this.#classification(task, answer, {
      source: 'cloud',
      degraded: false,
      encoder: { n, precision },
      point,
      bytes: trip.lastBytes,
      imageMs,
      encodeMs: encoderMs + codecMs,
      roundTripMs,
      queueMs,
      decodeMs,
      inferMs,
      bundleVersion,
    });
  }

  #classification(
    { image, index, since }: Task,
    { top, margin, logits }: Answer,
    rest: Omit<Classification, 'image' | 'index' | 'top' | 'margin' | 'logits' | 'bpp' | 'totalMs'>,
  ): Classification {
    const { width, height } = this.#options.edge.bundle.manifest.input;
    return {
      image,
      index,
      top,
      margin,
      ...(this.#options.wantLogits && logits && { logits }),
      ...rest,
      bpp: (8 * rest.bytes) / (width * height),
      totalMs: performance.now() - since,
    };
  }

  async #request(
    { since, signal }: Task,
    slices: SlicedImage,
    classes: number,
    trip: Trip,
    canFallBack: boolean,
  ): Promise<InferResponse & { result: Result }> {
    const { link, deadlineMs, timeoutMs, wantLogits, background } = this.#options;
    const deadlineAt = since + deadlineMs;
    const late = new TransportError('deadline', `no answer within ${deadlineMs} ms`);
    const at = canFallBack ? deadlineAt - this.#reserveMs : deadlineAt;
    const leftMs = at - performance.now();
    if (leftMs <= 0) throw late;
    const stop = new AbortController();
    const unfollow = signal && follow(stop, signal);
    const expiring = { at, expire: () => stop.abort(late) };
    const timer = deadlineMs < Infinity && setTimeout(expiring.expire, leftMs);
    if (canFallBack) this.#expiring.add(expiring);
    const traceparent = this.#options.traceparent();
    try {
      const response = await link.request(
        {
          image: slices,
          topK: classes,
          wantLogits,
          ...(background && { priority: 1 }),
          ...(traceparent && { traceparent }),
        },
        {
          signal: stop.signal,
          timeoutMs,
          deadlineAt,
          onSent(bytes, first) {
            trip.bytes += bytes;
            trip.lastBytes = first ? bytes : trip.lastBytes + bytes;
          },
        },
      );
      if (response.result) return response;
      const { code, message, retryAfterMs } = response.error;
      // about the cloud, not about this image
      if (code === 'draining' || code === 'unavailable')
        throw new TransportError(code, message, { retryAfterMs });
      throw new RequestError(code, message, retryAfterMs);
    } finally {
      clearTimeout(timer || undefined);
      this.#expiring.delete(expiring);
      unfollow?.();
    }
  }
}

/** By the caller, or because the client was closed; not by the cloud. */
function isCancelled(error: Error): boolean {
  return error instanceof TransportError && error.code === 'cancelled';
}

/** @throws TransportError 'cancelled' */
function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw TransportError.cancelled(signal);
}
