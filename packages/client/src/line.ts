import {
  TransportError,
  type InferRequest,
  type InferResponse,
  type InferStream,
  type Load,
  type TransportErrorCode,
} from '@raccoon/transport';
import { backoff, type Reconnect } from './backoff.ts';
import type { Candidate } from './pool-choice.ts';
import { sendSlices, type SlicedImage } from './progressive.ts';

/** What happens on a line. Every request that was sent is heard of again, once: answered or lost. */
export interface LineEvents {
  answered(id: number, response: InferResponse): void;
  /** Sent and not answered. */
  lost(id: number, error: TransportError): void;
  /** It takes no more requests; those under way may be answered still. Before any `lost` of a line that broke. */
  left(error: TransportError): void;
  /** Nothing comes any more. */
  closed(): void;
}

export interface LineOptions {
  readonly stream: InferStream;
  readonly reconnect: Reconnect;
  /** 0 to 1. */
  readonly random: () => number;
  /** Ends the stream at once, with this reason. */
  readonly abort: (error: TransportError) => void;
  readonly events: LineEvents;
}

/** Of what `send` throws, the codes that say nothing of the stream. */
const ABOUT_THE_IMAGE: ReadonlySet<string> = new Set(['bad-request', 'payload-too-large']);
/** Of what answers say, the codes of a cloud that had better be left alone for a while. */
const ABOUT_THE_CLOUD: ReadonlySet<TransportErrorCode> = new Set(['unavailable', 'internal', 'overloaded']);
/** Weight of the newest answer. */
const NEW = 0.2;

/** One stream: gives answers to who asked, and notices when none come. */
export class Line implements Candidate {
  /** Whether the cloud has answered on it, other than that it is leaving. */
  heard = false;
  /** ms, `performance.now()` */
  readonly since: number = performance.now();
  rttMs = 0;
  batchMs = 0;
  readonly #options: LineOptions;
  readonly #stream: InferStream;
  /** When the last answer came, ms, `performance.now()`. */
  #answeredAt: number = this.since;
  /** Ids without an answer, and when they were sent; the oldest first. */
  readonly #sent = new Map<number, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #left: TransportError | undefined;
  /** Answers in succession that say that the cloud had better be left alone, */
  #failures = 0;
  /** and for how long. */
  #restsUntil = 0;

  constructor(options: LineOptions) {
    this.#options = options;
    this.#stream = options.stream;
    void this.#read();
  }

  /** Why it takes no more requests. */
  get left(): TransportError | undefined {
    return this.#left;
  }

  /** How many requests it takes now. */
  get room(): number {
    return this.#stream.welcome.maxInFlight - this.#sent.size;
  }

  get unanswered(): number {
    return this.#sent.size;
  }

  get oldestMs(): number {
    for (const at of this.#sent.values()) return performance.now() - at;
    return 0;
  }

  get silentMs(): number {
    return performance.now() - this.#answeredAt;
  }

  get restMs(): number {
    return this.#failures === 0 ? 0 : Math.max(0, this.#restsUntil - performance.now());
  }

  get load(): Load | undefined {
    return this.#stream.load;
  }

  /** @param onSlice told of every payload that goes to the link, bytes */
  send(request: Omit<InferRequest, 'payload'>, image: SlicedImage, onSlice: (bytes: number) => void): void {
    const { id } = request;
    if (this.#sent.size === 0) this.#listen();
    this.#sent.set(id, performance.now());
    sendSlices(this.#stream, request, image, onSlice).catch((cause: unknown) => {
      const error = TransportError.from(cause);
      if (!ABOUT_THE_IMAGE.has(error.code)) this.leave(error);
      this.#lose(id, error);
    });
  }

  /** Nobody waits for this answer any more; there will be one, and until then it takes room. */
  cancel(id: number): void {
    if (this.#sent.has(id)) this.#stream.cancel(id);
  }

  /** Takes no more requests; those under way are answered. */
  leave(error: TransportError): void {
    if (this.#left) return;
    this.#left = error;
    this.#stream.end();
    this.#options.events.left(error);
  }

  async #read(): Promise<void> {
    let reason = new TransportError('unavailable', 'the cloud ended the stream');
    try {
      for await (const response of this.#stream.responses) this.#take(response);
    } catch (error) {
      reason = TransportError.from(error);
    }
    clearTimeout(this.#timer);
    this.leave(reason);
    for (const id of this.#sent.keys()) this.#lose(id, reason);
    this.#options.events.closed();
  }

  #take(response: InferResponse): void {
    const { id } = response;
    const sentAt = this.#sent.get(id);
    if (sentAt === undefined) return; // its second answer, or none of ours
    this.#sent.delete(id);
    const refusal = response.error?.code === 'draining' ? response.error : undefined;
    this.heard ||= !refusal;
    if (this.#sent.size > 0) this.#listen();
    else clearTimeout(this.#timer);
    this.#learn(response, performance.now() - sentAt);
    if (refusal) this.leave(new TransportError('draining', refusal.message));
    this.#options.events.answered(id, response);
  }

  /** What an answer says of the way and of the cloud at its end. */
  #learn({ error, queueMs, decodeMs, inferMs }: InferResponse, totalMs: number): void {
    if (!error) {
      this.#answeredAt = performance.now();
      this.#failures = 0;
      this.rttMs = smooth(this.rttMs, Math.max(0, totalMs - queueMs - decodeMs - inferMs));
      this.batchMs = smooth(this.batchMs, decodeMs + inferMs);
    } else if (ABOUT_THE_CLOUD.has(error.code)) {
      const { reconnect, random } = this.#options;
      const restMs = Math.max(error.retryAfterMs, backoff(++this.#failures, reconnect, random));
      this.#restsUntil = performance.now() + restMs;
    }
  }

  /** From now on silence counts. */
  #listen(): void {
    const { silenceMs } = this.#options.reconnect;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const message = `the cloud has said nothing for ${silenceMs / 1000} s`;
      this.#options.abort(new TransportError('unavailable', message));
    }, silenceMs);
  }

  #lose(id: number, error: TransportError): void {
    if (this.#sent.delete(id)) this.#options.events.lost(id, error);
  }
}

/** Moves `old`, 0 if there is none, towards a new measurement. */
function smooth(old: number, value: number): number {
  return old === 0 ? value : old + NEW * (value - old);
}
