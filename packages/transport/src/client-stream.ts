import { TransportError } from './errors.ts';
import { checkBytes } from './later-slices.ts';
import { errorResponse } from './messages.ts';
import type {
  ClientMessage,
  Hello,
  InferRequest,
  InferResponse,
  Load,
  ServerMessage,
  Welcome,
} from './messages.ts';
import { checkHello } from './protocol.ts';
import { ResponseQueue } from './response-queue.ts';
import { tooLarge } from './server-stream.ts';
import type { InferStream } from './transport.ts';

/** What a stream's client half says to whatever carries it. */
export interface ClientLink {
  /** `taken` is called when the carrier takes more, and perhaps never once the link is gone. */
  send(message: ClientMessage, taken: () => void): void;
  /** No more messages. */
  end(): void;
  /** Drop the link. */
  abort(): void;
}

/** A request without an answer, and the promise of its `send`. */
interface Outgoing {
  readonly request: InferRequest;
  readonly resolve: () => void;
  readonly reject: (error: TransportError) => void;
  /** Of the slices so far. */
  bytes: number;
  /** Whether there are slices that are not sent yet. */
  more: boolean;
  /** Whether the cloud waits for one of them. */
  wanted: boolean;
  /** Whoever wants to know that. */
  asking?: PromiseWithResolvers<boolean> | undefined;
}

const largestId = 0xffff_ffff;
const none = (): void => {};
const afterEnd = (): TransportError =>
  new TransportError('bad-request', 'the stream takes no request after end()');

/** The client half of one stream, the same over every carrier. */
export class ClientStream implements InferStream {
  readonly responses: ResponseQueue = new ResponseQueue();
  load: Load | undefined;
  readonly #address: string;
  readonly #link: ClientLink;
  readonly #opening: PromiseWithResolvers<Welcome> = withResolvers();
  readonly #waiting = new Map<number, Outgoing>(); // for credit, oldest first
  readonly #sent = new Map<number, Outgoing>();
  #welcome: Welcome | undefined;
  #credit = 0; // requests that the cloud takes now
  #ending = false; // end() was called
  #leaving: string | undefined; // why the cloud said GoAway
  #finished = false; // our side of the link is closed
  #closed: TransportError | undefined; // why there is no stream any more
  #unsubscribe = none;

  /** `connect` makes the link that delivers to the given stream, and delivers nothing before it returns. */
  constructor(address: string, connect: (stream: ClientStream) => ClientLink) {
    this.#address = address;
    this.#link = connect(this);
  }

  /** Says Hello and waits for the Welcome. */
  async open(hello: Hello, signal?: AbortSignal): Promise<this> {
    if (signal) this.#endOn(signal);
    try {
      checkHello(hello);
    } catch (cause) {
      this.abort(TransportError.from(cause));
    }
    if (!this.#closed) this.#link.send({ kind: 'hello', hello }, none);
    await this.#opening.promise;
    return this;
  }

  get welcome(): Welcome {
    if (!this.#welcome) throw new TransportError('internal', 'the stream is not open yet');
    return this.#welcome;
  }

  async send(request: InferRequest): Promise<void> {
    if (request.sliceIndex) {
      this.#sendLater(request);
      return;
    }
    this.#check(request.id);
    const { id, payload, moreSlices = false } = request;
    const { maxPayloadBytes, maxSlices } = this.welcome;
    if (payload.length > maxPayloadBytes) {
      this.#deliver(tooLarge(request, maxPayloadBytes));
      return;
    }
    if (moreSlices && maxSlices === 0) {
      const message = `the cloud at ${this.#address} takes an image as one slice: send it as one, or update the cloud`;
      this.#deliver(errorResponse(id, 'bad-request', message));
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const bytes = payload.length;
      this.#waiting.set(id, { request, resolve, reject, bytes, more: moreSlices, wanted: false });
      this.#pump();
    });
  }

  async wantsMore(id: number): Promise<boolean> {
    if (this.#closed) throw this.#closed;
    const outgoing = this.#sent.get(id);
    if (!outgoing) return false;
    if (outgoing.wanted) return true;
    outgoing.asking ??= withResolvers();
    return outgoing.asking.promise;
  }

  cancel(id: number): void {
    const waiting = this.#waiting.get(id);
    if (waiting) {
      this.#waiting.delete(id);
      this.#deliver(errorResponse(id, 'cancelled', 'cancelled before it was sent'));
      waiting.resolve();
      this.#pump();
    } else if (this.#sent.has(id) && !this.#finished) {
      this.#link.send({ kind: 'cancel', id }, none);
    }
  }

  end(): void {
    this.#ending = true;
    this.#pump();
  }

  /** Ends the stream at once. */
  abort(error: TransportError): void {
    if (this.#closed) return;
    this.broken(error);
    this.#link.abort();
  }

  /** From the link: a message. */
  receive(message: ServerMessage): void {
    if (this.#closed) return;
    if (!this.#welcome) {
      if (message.kind === 'welcome') this.#open(message.welcome);
      else this.abort(new TransportError('protocol', `${this.#address} did not answer Hello with Welcome`));
    } else if (message.kind === 'response') {
      this.#answered(message.response);
    } else if (message.kind === 'more') {
      this.#asked(message.more.id);
    } else if (message.kind === 'load') {
      this.load = message.load;
    } else if (message.kind === 'goAway') {
      this.#leave(message.reason);
    } // else: what a newer cloud says beyond this version
  }

  /** From the link: the cloud ended the stream in good order. */
  ended(): void {
    if (this.#closed) return;
    const unanswered = this.#waiting.size + this.#sent.size;
    if (this.#ending && unanswered === 0) {
      this.#close(afterEnd());
      this.responses.close();
    } else if (this.#leaving !== undefined) {
      this.broken(this.#draining(this.#leaving));
    } else {
      this.broken(new TransportError('unavailable', 'the cloud ended the stream with requests unanswered'));
    }
  }

  /** From the link: it is gone. */
  broken(error: TransportError): void {
    if (this.#closed) return;
    // Before the Welcome, 'unavailable' says that nobody is there; after it, somebody was.
    const lost = error.code === 'unavailable' && this.#welcome !== undefined;
    const message = `the link to ${this.#address} broke`;
    const why = lost ? new TransportError('unavailable', message, { cause: error }) : error;
    this.#close(why);
    this.responses.close(why);
  }

  #endOn(signal: AbortSignal): void {
    const abort = (): void => this.abort(TransportError.cancelled(signal));
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener('abort', abort);
    this.#unsubscribe = () => signal.removeEventListener('abort', abort);
  }

  #open(welcome: Welcome): void {
    this.#welcome = welcome;
    this.#credit = welcome.maxInFlight;
    this.#opening.resolve(welcome);
  }

  #check(id: number): void {
    if (this.#closed) throw this.#closed;
    if (this.#leaving !== undefined) throw this.#draining(this.#leaving);
    if (this.#ending) throw afterEnd();
    if (!Number.isInteger(id) || id < 1 || id > largestId) {
      throw new TransportError(
        'bad-request',
        `a request's id is a whole number from 1 to ${largestId}, not ${id}`,
      );
    }
    if (this.#waiting.has(id) || this.#sent.has(id)) {
      throw new TransportError('bad-request', `request ${id} is already in flight`);
    }
  }

  /** At most as many as the image has slices, and it has its credit: nothing to wait for. */
  #sendLater(request: InferRequest): void {
    if (this.#closed) throw this.#closed;
    const { id, payload, moreSlices = false } = request;
    if (this.#waiting.has(id)) {
      const message = `a later slice of request ${id} while its first waits: wait for that one's send()`;
      throw new TransportError('bad-request', message);
    }
    const outgoing = this.#sent.get(id);
    if (!outgoing) return; // answered by now
    outgoing.bytes += payload.length;
    const tooMany = checkBytes(outgoing.bytes, this.welcome.maxPayloadBytes);
    if (tooMany) {
      this.cancel(id);
      throw tooMany;
    }
    outgoing.more = moreSlices;
    outgoing.wanted = false;
    this.#link.send({ kind: 'request', request }, none);
    this.#pump();
  }

  #asked(id: number): void {
    const outgoing = this.#sent.get(id);
    if (!outgoing) return;
    outgoing.wanted = true;
    outgoing.asking?.resolve(true);
    outgoing.asking = undefined;
  }

  /** Sends what credit allows; after the last request, closes our side. */
  #pump(): void {
    if (this.#closed || this.#finished) return;
    for (const [id, outgoing] of this.#waiting) {
      if (this.#credit === 0) return;
      this.#credit--;
      this.#waiting.delete(id);
      this.#sent.set(id, outgoing);
      this.#link.send({ kind: 'request', request: outgoing.request }, outgoing.resolve);
    }
    if (this.#ending || this.#leaving !== undefined) {
      for (const { more } of this.#sent.values()) if (more) return;
      this.#finished = true;
      this.#link.end();
    }
  }

  #answered(response: InferResponse): void {
    const outgoing = this.#sent.get(response.id);
    if (outgoing) {
      this.#sent.delete(response.id);
      outgoing.resolve();
      outgoing.asking?.resolve(false);
      this.#credit++;
      this.#pump();
    }
    this.#deliver(response);
  }

  #deliver(response: InferResponse): void {
    const { bundleVersion } = this.welcome;
    this.responses.push(response.bundleVersion ? response : { ...response, bundleVersion });
  }

  /** What is not sent goes to another cloud; what is sent is answered still. */
  #leave(reason: string): void {
    this.#leaving = reason;
    for (const { reject } of this.#waiting.values()) reject(this.#draining(reason));
    this.#waiting.clear();
    this.#pump();
  }

  #draining(reason: string): TransportError {
    return new TransportError('draining', `the cloud at ${this.#address} takes no more requests: ${reason}`);
  }

  #close(error: TransportError): void {
    this.#closed = error;
    this.#unsubscribe();
    this.#opening.reject(error);
    for (const { reject, asking } of [...this.#waiting.values(), ...this.#sent.values()]) {
      reject(error);
      asking?.reject(error);
    }
    this.#waiting.clear();
    this.#sent.clear();
  }
}

/** `Promise.withResolvers`, which Node 20 has not. */
interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: TransportError) => void;
}

function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: TransportError) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
