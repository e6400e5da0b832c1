import { TransportError, type InferRequest, type InferResponse, type InferStream } from '@raccoon/transport';
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

/** Of what `send` throws, the codes that say nothing of the stream. */
const ABOUT_THE_IMAGE: ReadonlySet<string> = new Set(['bad-request', 'payload-too-large']);

/** One stream: gives answers to who asked, and notices when none come. */
export class Line {
  /** Whether the cloud has answered on it, other than that it is leaving. */
  heard = false;
  /** ms, `performance.now()` */
  readonly since: number = performance.now();
  readonly #stream: InferStream;
  readonly #events: LineEvents;
  readonly #silenceMs: number;
  readonly #abort: (error: TransportError) => void;
  /** Ids without an answer. */
  readonly #sent = new Set<number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #left: TransportError | undefined;

  /** @param abort ends the stream at once, with this reason */
  constructor(
    stream: InferStream,
    silenceMs: number,
    abort: (error: TransportError) => void,
    events: LineEvents,
  ) {
    this.#stream = stream;
    this.#silenceMs = silenceMs;
    this.#abort = abort;
    this.#events = events;
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

  /** @param onSlice told of every payload that goes to the link, bytes */
  send(request: Omit<InferRequest, 'payload'>, image: SlicedImage, onSlice: (bytes: number) => void): void {
    const { id } = request;
    if (this.#sent.size === 0) this.#listen();
    this.#sent.add(id);
    sendSlices(this.#stream, request, image, onSlice).catch((cause: unknown) => {
      const error = TransportError.from(cause);
      if (!ABOUT_THE_IMAGE.has(error.code)) this.#leave(error);
      this.#lose(id, error);
    });
  }

  /** Nobody waits for this answer any more; there will be one, and until then it takes room. */
  cancel(id: number): void {
    if (this.#sent.has(id)) this.#stream.cancel(id);
  }

  async #read(): Promise<void> {
    let reason = new TransportError('unavailable', 'the cloud ended the stream');
    try {
      for await (const response of this.#stream.responses) this.#take(response);
    } catch (error) {
      reason = TransportError.from(error);
    }
    clearTimeout(this.#timer);
    this.#leave(reason);
    for (const id of this.#sent) this.#lose(id, reason);
    this.#events.closed();
  }

  #take(response: InferResponse): void {
    const { id } = response;
    if (!this.#sent.delete(id)) return; // its second answer, or none of ours
    const refusal = response.error?.code === 'draining' ? response.error : undefined;
    this.heard ||= !refusal;
    if (this.#sent.size > 0) this.#listen();
    else clearTimeout(this.#timer);
    if (refusal) this.#leave(new TransportError('draining', refusal.message));
    this.#events.answered(id, response);
  }

  /** From now on silence counts. */
  #listen(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const seconds = this.#silenceMs / 1000;
      this.#abort(new TransportError('unavailable', `the cloud has said nothing for ${seconds} s`));
    }, this.#silenceMs);
  }

  #leave(error: TransportError): void {
    if (this.#left) return;
    this.#left = error;
    this.#stream.end();
    this.#events.left(error);
  }

  #lose(id: number, error: TransportError): void {
    if (this.#sent.delete(id)) this.#events.lost(id, error);
  }
}
