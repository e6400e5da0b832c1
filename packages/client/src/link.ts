import {
  errorTable,
  TransportError,
  type Hello,
  type InferRequest,
  type InferResponse,
  type Transport,
} from '@raccoon/transport';
import { backoff, reconnectFrom, type Reconnect, type ReconnectOptions } from './backoff.ts';
import type { ClientEvents } from './events.ts';
import { follow } from './follow.ts';
import { Line } from './line.ts';
import type { SlicedImage } from './progressive.ts';

/** An image's bitstream, or its slices, and what goes with it. */
export interface Request extends Pick<InferRequest, 'topK' | 'wantLogits' | 'priority' | 'traceparent'> {
  readonly image: SlicedImage;
}

export interface RequestOptions {
  /** Ends waiting, here and in the cloud. The request is rejected with its reason, if that is a TransportError. */
  readonly signal?: AbortSignal;
  /** Time for it in the cloud, ms; absent or 0: none. */
  readonly timeoutMs?: number;
  /** When the answer is worth nothing any more, `performance.now()`: the cloud is told what is left, each time. */
  readonly deadlineAt?: number;
  /** Called with the bytes of each payload that goes to the link; `first`: of the image, each time that it is sent. */
  readonly onSent?: (bytes: number, first: boolean) => void;
}

/** What is told of each request, so that somebody can judge the link; times are `performance.now()`. */
export interface LinkWitness {
  opened(now: number): void;
  closed(now: number): void;
  sent(now: number, id: number, bytes: number): void;
  answered(now: number, id: number, cloudMs: number): void;
  forgotten(now: number, id: number): void;
}

/** A way to a cloud, for one stream; closed when that has ended. */
export type Dialled = Pick<Transport, 'openStream' | 'close'>;

export interface LinkOptions {
  /** Ways to the cloud, tried in turn. A new one for each stream: a connection that died silently is not used again. */
  readonly dials: readonly (() => Dialled)[];
  readonly hello: Hello;
  readonly events: ClientEvents;
  readonly witness: LinkWitness;
  /** `false`: nothing is sent twice, and a stream is opened when an image needs it. */
  readonly reconnect?: ReconnectOptions | false;
  /** 0 to 1, for the waits; default Math.random. */
  readonly random?: () => number;
}

/** What protobuf, gRPC and HTTP/2 add to one payload, bytes (docs/results/imagenet1k-mobilenet.md). */
export const WIRE_OVERHEAD_BYTES = 26;

/** What fits the message. */
const MAX_TIMEOUT_MS = 2 ** 32;

/** One request from its caller to its answer, over as many streams as it takes. */
interface Job {
  readonly id: number;
  readonly request: Request;
  readonly options: RequestOptions;
  readonly resolve: (response: InferResponse) => void;
  readonly reject: (error: TransportError) => void;
  /** The line that has it. */
  line?: Line;
  sends: number;
  /** Of its rest before it is sent again. */
  timer?: ReturnType<typeof setTimeout>;
}

/**
 * The way to the cloud: one stream, opened again when it broke, fell silent, or the cloud sent it away. A request keeps its
 * id from stream to stream until it has one outcome; what a left stream still says of it counts as little as a second answer.
 */
export class Link {
  readonly #options: LinkOptions;
  readonly #reconnect: Reconnect;
  readonly #again: boolean;
  /** Every request without an outcome. */
  readonly #jobs = new Map<number, Job>();
  /** Those that no line has, oldest first. */
  readonly #waiting = new Map<number, Job>();
  #line: Line | undefined;
  readonly #transports = new Set<Dialled>();
  #dialling = false;
  #dials = 0;
  /** Streams in succession that could not be opened, or were of no use. */
  #failures = 0;
  #downSince: number | undefined;
  #error = new TransportError('unavailable', 'there is no link to the cloud');
  #lastId = 0;
  /** Aborted by `close`. */
  readonly #closing = new AbortController();

  /** @throws RangeError for settings of `reconnect` that make no sense */
  constructor(options: LinkOptions) {
    this.#options = options;
    this.#again = options.reconnect !== false;
    this.#reconnect = reconnectFrom(options.reconnect === false ? {} : options.reconnect);
  }

  /** Opens the first stream, with one attempt for each way. @throws TransportError */
  async open(signal?: AbortSignal): Promise<void> {
    for (let left = this.#options.dials.length; ; left--) {
      try {
        this.#adopt(await this.#connect(signal));
        return;
      } catch (cause) {
        const error = TransportError.from(cause);
        if (left > 1 && mayRetry(error)) continue;
        throw error;
      }
    }
  }

  /** Opens it in its own time, as after a long break: what never was there gets no patience. */
  openLater(error: TransportError): void {
    this.#error = error;
    this.#failures = 1;
    this.#downSince = -Infinity;
    this.#dial();
  }

  /**
   * Sends one request; resolves with its answer, which may be an error of the cloud's.
   * @throws TransportError when there is no link in time, or it broke too often
   */
  request(request: Request, options: RequestOptions = {}): Promise<InferResponse> {
    const { signal } = options;
    if (this.#closing.signal.aborted) return Promise.reject(closedError());
    if (signal?.aborted) return Promise.reject(TransportError.cancelled(signal));
    this.#lastId = (this.#lastId % 0xffff_ffff) + 1;
    const id = this.#lastId;
    return new Promise<InferResponse>((resolve, reject) => {
      const abort = (): void => this.#fail(job, TransportError.cancelled(signal!));
      const settled = (): void => signal?.removeEventListener('abort', abort);
      const job: Job = {
        id,
        request,
        options,
        resolve(response) {
          settled();
          resolve(response);
        },
        reject(error) {
          settled();
          reject(error);
        },
        sends: 0,
      };
      signal?.addEventListener('abort', abort);
      this.#jobs.set(id, job);
      this.#place(job);
    });
  }

  /** What is under way fails with 'cancelled'. */
  async close(): Promise<void> {
    const error = closedError();
    this.#closing.abort(error);
    for (const job of this.#jobs.values()) this.#fail(job, error);
    await Promise.all([...this.#transports].map((transport) => transport.close()));
  }

  #place(job: Job): void {
    this.#waiting.set(job.id, job);
    this.#flush();
  }

  /** Gives the line what it takes; without one, sees that there will be one. */
  #flush(): void {
    const line = this.#line;
    if (!line) {
      if (this.#waiting.size > 0) this.#dial();
      return;
    }
    for (const job of this.#waiting.values()) {
      if (line.room <= 0) return;
      this.#waiting.delete(job.id);
      this.#send(job, line);
    }
  }

  #send(job: Job, line: Line): void {
    const { id, request, options } = job;
    const { image, ...rest } = request;
    job.line = line;
    job.sends++;
    const now = performance.now();
    const left = Math.min(options.timeoutMs || Infinity, (options.deadlineAt ?? Infinity) - now);
    let slices = 0;
    const sent = (bytes: number): void => {
      // what further slices cost is not told apart: their answers come after more than one round trip
      if (slices === 0) this.#options.witness.sent(now, id, bytes + WIRE_OVERHEAD_BYTES);
      options.onSent?.(bytes, slices++ === 0);
    };
    const timeoutMs = left < MAX_TIMEOUT_MS ? Math.max(1, Math.floor(left)) : undefined;
    line.send({ ...rest, id, ...(timeoutMs !== undefined && { timeoutMs }) }, image, sent);
  }

  #dial(): void {
    if (this.#dialling || this.#line || this.#closing.signal.aborted) return;
    this.#dialling = true;
    this.#downSince ??= performance.now();
    void this.#dialUntilOpen();
  }

  async #dialUntilOpen(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      if (this.#failures > 0) {
        const delayMs = backoff(this.#failures, this.#reconnect, this.#options.random);
        this.#options.events.emit('reconnecting', { attempt: this.#failures, delayMs, error: this.#error });
        await pause(delayMs, signal);
      }
      try {
        const line = await this.#connect();
        this.#dialling = false;
        this.#adopt(line);
        return;
      } catch (cause) {
        if (signal.aborted) return;
        this.#error = TransportError.from(cause);
      }
      const downMs = performance.now() - this.#downSince!;
      if (!mayRetry(this.#error) || downMs > this.#reconnect.patienceMs || !this.#again) {
        for (const job of this.#waiting.values()) this.#fail(job, this.#error);
      }
      if (!this.#again) {
        this.#dialling = false;
        this.#downSince = undefined;
        return;
      }
      this.#failures++;
    }
  }

  /** One attempt, the next way. */
  async #connect(signal?: AbortSignal): Promise<Line> {
    const { dials, hello } = this.#options;
    const transport = dials[this.#dials++ % dials.length]!();
    this.#transports.add(transport);
    const stop = new AbortController();
    const enough = follow(stop, this.#closing.signal);
    const opened = signal && follow(stop, signal);
    try {
      const stream = await transport.openStream(hello, { signal: stop.signal });
      const { bundle, bundleVersion } = stream.welcome;
      const line: Line = new Line(stream, this.#reconnect.silenceMs, (error) => stop.abort(error), {
        answered: (id, response) => this.#answered(id, response),
        lost: (id, error) => this.#lost(id, error),
        left: (error) => this.#left(line, error),
        closed: () => {
          enough();
          void this.#hangUp(transport);
        },
      });
      this.#options.events.emit('connected', { bundle, bundleVersion });
      return line;
    } catch (error) {
      enough();
      await this.#hangUp(transport);
      throw error;
    } finally {
      opened?.();
    }
  }

  async #hangUp(transport: Dialled): Promise<void> {
    this.#transports.delete(transport);
    await transport.close();
  }

  #adopt(line: Line): void {
    this.#line = line;
    this.#downSince = undefined;
    this.#options.witness.opened(performance.now());
    if (line.left)
      this.#left(line, line.left); // it broke before it was here
    else this.#flush();
  }

  #left(line: Line, error: TransportError): void {
    if (this.#line !== line || this.#closing.signal.aborted) return;
    const now = performance.now();
    this.#line = undefined;
    this.#error = error;
    this.#options.witness.closed(now);
    this.#options.events.emit('disconnected', { error });
    const useful = line.heard || now - line.since > this.#reconnect.maxDelayMs;
    if (!useful) this.#failures++;
    else this.#failures = error.code === 'draining' ? 0 : 1; // another cloud is there, or perhaps none for a moment
    if (this.#again) this.#dial();
    else this.#failures = 0;
    this.#flush();
  }

  #answered(id: number, response: InferResponse): void {
    const job = this.#jobs.get(id);
    const { queueMs, decodeMs, inferMs, error } = response;
    // also of one that nobody waits for: its bytes have passed
    this.#options.witness.answered(performance.now(), id, queueMs + decodeMs + inferMs);
    if (!job) return this.#flush();
    // The cloud has not begun with it, or what had begun is gone.
    if (error && (error.code === 'draining' || error.code === 'unavailable') && this.#mayGoAgain(job)) {
      this.#goAgain(job, new TransportError(error.code, error.message), error.retryAfterMs);
    } else {
      this.#drop(job);
      job.resolve(response);
    }
    this.#flush();
  }

  #lost(id: number, error: TransportError): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    if (mayRetry(error) && this.#mayGoAgain(job)) this.#goAgain(job, error);
    else this.#fail(job, error);
  }

  #mayGoAgain({ sends }: Job): boolean {
    return this.#again && sends < this.#reconnect.maxSends;
  }

  /** A line that left costs no time; a cloud that is there and will not has some to recover. */
  #goAgain(job: Job, { code }: TransportError, retryAfterMs = 0): void {
    this.#options.events.emit('resent', { code, sends: job.sends });
    const stays = job.line === this.#line;
    delete job.line;
    const delayMs = stays ? backoff(job.sends, this.#reconnect, this.#options.random) : 0;
    if (!stays && retryAfterMs === 0) return this.#place(job);
    job.timer = setTimeout(() => this.#place(job), Math.max(delayMs, retryAfterMs));
  }

  #fail(job: Job, error: TransportError): void {
    this.#drop(job);
    this.#options.witness.forgotten(performance.now(), job.id);
    job.line?.cancel(job.id);
    job.reject(error);
  }

  /** Nothing that happens from now on is about it. */
  #drop(job: Job): void {
    this.#jobs.delete(job.id);
    this.#waiting.delete(job.id);
    clearTimeout(job.timer);
  }
}

const closedError = (): TransportError => new TransportError('cancelled', 'the client was closed');

function mayRetry({ code }: TransportError): boolean {
  return errorTable[code].retry;
}

/** Waits, or until `signal` says that there is nothing to wait for. */
function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, delayMs);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
