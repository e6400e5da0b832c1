import {
  TransportError,
  type Hello,
  type InferError,
  type InferRequest,
  type InferResponse,
} from '@raccoon/transport';
import { backoff, reconnectFrom, type Reconnect, type ReconnectOptions } from './backoff.ts';
import type { ClientEvents } from './events.ts';
import type { Line } from './line.ts';
import { mayRetry, Pool } from './pool.ts';
import type { SlicedImage } from './progressive.ts';
import type { Replicas } from './replicas.ts';

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

export interface LinkOptions {
  readonly replicas: Replicas;
  /** At a time, at most; absent: one to each replica that there is, up to MAX_STREAMS. */
  readonly streams?: number | undefined;
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
 * The way to the cloud: a stream, or one to each replica, opened again when they broke, fell silent, or the cloud sent them away. A
 * request keeps its id from stream to stream until it has one outcome; what a left stream still says of it counts as little as
 * a second answer.
 */
export class Link {
  readonly #options: LinkOptions;
  readonly #reconnect: Reconnect;
  readonly #again: boolean;
  readonly #random: () => number;
  readonly #pool: Pool;
  /** Every request without an outcome. */
  readonly #jobs = new Map<number, Job>();
  /** Those that no line has, oldest first. */
  readonly #waiting = new Map<number, Job>();
  #lastId = 0;
  #closed = false;

  /** @throws RangeError for settings of `reconnect` that make no sense */
  constructor(options: LinkOptions) {
    const { replicas, hello, streams, events, reconnect = {}, random = Math.random } = options;
    this.#options = options;
    this.#again = reconnect !== false;
    this.#reconnect = reconnectFrom(reconnect || {});
    this.#random = random;
    this.#pool = new Pool(
      { replicas, hello, streams, events, random, reconnect: this.#reconnect, again: this.#again },
      {
        opened: () => this.#opened(),
        left: () => this.#left(),
        answered: (line, id, response) => this.#answered(line, id, response),
        lost: (id, error) => this.#lost(id, error),
        hopeless: (error) => this.#hopeless(error),
      },
    );
  }

  /** Opens the first stream, with one attempt for each way. @throws TransportError */
  open(signal?: AbortSignal): Promise<void> {
    return this.#pool.open(signal);
  }

  /** Opens it in its own time, as after a long break: what never was there gets no patience. */
  openLater(error: TransportError): void {
    this.#pool.openLater(error);
  }

  /**
   * Sends one request; resolves with its answer, which may be an error of the cloud's.
   * @throws TransportError when there is no link in time, or it broke too often
   */
  request(request: Request, options: RequestOptions = {}): Promise<InferResponse> {
    const { signal } = options;
    if (this.#closed) return Promise.reject(closedError());
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
    this.#closed = true;
    const closed = this.#pool.close(error);
    for (const job of this.#jobs.values()) this.#fail(job, error);
    await closed;
  }

  #place(job: Job): void {
    this.#waiting.set(job.id, job);
    this.#flush();
  }

  /** Gives the lines what they take; without one, sees that there will be one. */
  #flush(): void {
    for (const job of this.#waiting.values()) {
      const line = this.#pool.pick();
      if (!line) break;
      this.#waiting.delete(job.id);
      this.#send(job, line);
    }
    if (this.#waiting.size > 0 && this.#pool.size === 0) this.#pool.wake();
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

  #opened(): void {
    if (this.#pool.size === 1) this.#options.witness.opened(performance.now());
    this.#flush();
  }

  #left(): void {
    const { witness } = this.#options;
    const now = performance.now();
    // the link is what all lines have in common: it goes on, without what was under way
    witness.closed(now);
    if (this.#pool.size > 0) witness.opened(now);
    this.#flush();
  }

  #hopeless(error: TransportError): void {
    for (const job of this.#waiting.values()) this.#fail(job, error);
  }

  #answered(line: Line, id: number, response: InferResponse): void {
    const job = this.#jobs.get(id);
    const { queueMs, decodeMs, inferMs, error } = response;
    // also of one that nobody waits for: its bytes have passed
    this.#options.witness.answered(performance.now(), id, queueMs + decodeMs + inferMs);
    if (!job) return this.#flush();
    if (error && this.#goesAgain(line, error) && this.#mayGoAgain(job)) {
      this.#goAgain(job, new TransportError(error.code, error.message), error.retryAfterMs);
    } else {
      this.#drop(job);
      job.resolve(response);
    }
    this.#flush();
  }

  /** Whether the cloud has not begun with it, or what had begun is gone; or another one may have more room. */
  #goesAgain(line: Line, { code }: InferError): boolean {
    return (
      code === 'draining' || code === 'unavailable' || (code === 'overloaded' && this.#pool.hasOther(line))
    );
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

  /** Another line, or none yet, costs no time; a cloud that is there and will not has some to recover. */
  #goAgain(job: Job, { code }: TransportError, retryAfterMs = 0): void {
    this.#options.events.emit('resent', { code, sends: job.sends });
    const line = job.line!;
    delete job.line;
    if (this.#pool.hasOther(line)) return this.#place(job);
    const delayMs = this.#pool.has(line) ? backoff(job.sends, this.#reconnect, this.#random) : 0;
    if (delayMs + retryAfterMs === 0) return this.#place(job);
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
