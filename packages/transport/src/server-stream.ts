import { TransportError } from './errors.ts';
import { errorResponse } from './messages.ts';
import { SliceFeed } from './later-slices.ts';
import type { ClientMessage, InferRequest, InferResponse, Load, ServerMessage, Welcome } from './messages.ts';
import { MAX_SLICES, type Limits } from './protocol.ts';
import { traceFrom } from './trace.ts';
import type {
  Caller,
  CancelSignal,
  InferContext,
  InferenceService,
  Origin,
  TraceContext,
} from './transport.ts';

/** What a stream's server half says to whatever carries it. */
export interface ServerLink {
  /** `taken` is called when the carrier takes more, and perhaps never once the link is gone. */
  send(message: ServerMessage, taken: () => void): void;
  /** Stop and go on reading. After `pause` not one more message is delivered. */
  pause(): void;
  resume(): void;
  /** Ends the stream in good order. */
  end(): void;
  /** Ends the stream and tells the client why. */
  fail(error: TransportError): void;
}

/** One request's context, and its signal at the same time: at ten thousand a second, every object shows. */
export class RequestContext implements InferContext, CancelSignal {
  readonly peer: string;
  readonly caller: Caller;
  readonly trace?: TraceContext;
  /** Of an image in slices. */
  later?: SliceFeed;
  /** ms, `performance.now()` */
  readonly since: number = performance.now();
  reason: TransportError | undefined;
  readonly #listeners: (() => void)[] = [];

  constructor({ peer, caller, trace }: Origin, { traceparent }: InferRequest) {
    this.peer = peer;
    this.caller = caller;
    const own = traceFrom(traceparent) ?? trace;
    if (own) this.trace = own;
  }

  get signal(): CancelSignal {
    return this;
  }

  get aborted(): boolean {
    return this.reason !== undefined;
  }

  addEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
  }

  abort(reason: TransportError): void {
    if (this.aborted) return;
    this.reason = reason;
    for (const listener of this.#listeners.splice(0)) listener();
  }
}

/** A call's one request, answered by the service or refused before it; never rejects. */
export async function answer(
  service: InferenceService,
  limits: Limits,
  request: InferRequest,
  context: InferContext,
): Promise<InferResponse> {
  try {
    const refusal = inSlices(request) ?? refused(request, limits);
    if (!refusal) return await service.infer(request, context);
    if (refusal.error) service.refused?.(refusal.error.code, context.caller, request);
    return refusal;
  } catch (cause) {
    return failed(request.id, cause);
  }
}

/** Whatever a client asks for, ms. */
const LEAST_REPORT_MS = 100;
const MOST_REPORT_MS = 60_000;

/** Whether an image would go elsewhere for it, perhaps. */
function hasChanged(before: Load, now: Load): boolean {
  return (
    before.draining !== now.draining ||
    Math.abs(now.queueMs - before.queueMs) > 1 ||
    Math.abs(now.imagesPerSecond - before.imagesPerSecond) > 0.05 * before.imagesPerSecond ||
    Math.abs(now.utilisation - before.utilisation) > 0.1
  );
}

/** Why a request does not even reach the service. */
function refused(request: InferRequest, { maxPayloadBytes }: Limits): InferResponse | undefined {
  return request.payload.length > maxPayloadBytes ? tooLarge(request, maxPayloadBytes) : undefined;
}

/** A call has one request, and nobody to ask for more. */
function inSlices({ id, sliceIndex, moreSlices }: InferRequest): InferResponse | undefined {
  if (!sliceIndex && !moreSlices) return undefined;
  return errorResponse(id, 'bad-request', 'slices go over a stream: send the image as one, or open a stream');
}

function failed(id: number, cause: unknown): InferResponse {
  const { code, message, retryAfterMs } = TransportError.from(cause);
  return errorResponse(id, code, message, retryAfterMs);
}

/** The answer to a payload above the limit; both ends give the same. */
export function tooLarge({ id, payload }: InferRequest, limit: number): InferResponse {
  const message = `the payload has ${payload.length} bytes, the cloud takes ${limit}: send fewer bits per pixel`;
  return errorResponse(id, 'payload-too-large', message);
}

/**
 * The server half of one stream, the same over every carrier: Hello first, at most `maxInFlight` requests without an
 * answer, answers as they come, one answer for a bad message and no harm to the others.
 */
export class ServerStream {
  readonly #service: InferenceService;
  readonly #limits: Limits;
  readonly #origin: Origin;
  readonly #link: ServerLink;
  readonly #inFlight = new Map<number, RequestContext>(); // oldest first
  #welcome: Welcome | undefined;
  #busy = 0; // messages taken whose answer the carrier has not
  #held: ClientMessage | undefined; // the one message read above the limit
  #timer: NodeJS.Timeout | undefined; // of the Hello, then of the oldest in flight
  #reports: NodeJS.Timeout | undefined; // of the service's load
  #clientEnded = false;
  #draining: string | undefined;
  #late = 0; // requests taken since
  #closed = false;

  constructor(service: InferenceService, limits: Limits, origin: Origin, link: ServerLink) {
    this.#service = service;
    this.#limits = limits;
    this.#origin = origin;
    this.#link = link;
    this.#after(limits.messageTimeoutMs, () => {
      const message = `no Hello within ${limits.messageTimeoutMs} ms`;
      this.#fail(new TransportError('deadline', message));
    });
  }

  receive(message: ClientMessage): void {
    if (this.#closed) return;
    if (!this.#welcome) {
      this.#open(message);
    } else if (message.kind === 'cancel') {
      this.#inFlight.get(message.id)?.abort(new TransportError('cancelled', 'cancelled by the client'));
    } else if (message.kind === 'request' && message.request.sliceIndex) {
      // Of an image that has its room. Where nobody waits for it, it has crossed with the answer.
      this.#inFlight.get(message.request.id)?.later?.push(message.request);
    } else if (this.#busy < this.#limits.maxInFlight) {
      this.#take(message);
    } else {
      this.#held = message;
      this.#link.pause();
    }
  }

  /** The client sends no more. */
  clientEnded(): void {
    this.#clientEnded = true;
    for (const { later } of this.#inFlight.values()) later?.end();
    this.#endIfDone();
  }

  /** The link is gone. */
  gone(): void {
    this.#close();
    const reason = new TransportError('cancelled', 'the client is gone');
    for (const context of this.#inFlight.values()) context.abort(reason);
    this.#inFlight.clear();
  }

  /** Send the client away: what it has sent by then is answered, and it ends the stream. */
  drain(reason: string): void {
    if (this.#closed || this.#draining !== undefined) return;
    this.#draining = reason;
    if (this.#welcome) this.#link.send({ kind: 'goAway', reason }, () => {});
    else this.#fail(new TransportError('draining', reason));
  }

  #open(message: ClientMessage): void {
    try {
      if (message.kind !== 'hello') {
        throw new TransportError('bad-request', 'the first message of a stream must be a Hello');
      }
      const { maxInFlight, maxPayloadBytes } = this.#limits;
      const welcome = this.#service.hello(message.hello, this.#origin.caller);
      this.#welcome = { ...welcome, maxInFlight, maxPayloadBytes, maxSlices: MAX_SLICES };
      clearTimeout(this.#timer); // the Hello's: the next is the first request's
      this.#timer = undefined;
      this.#link.send({ kind: 'welcome', welcome: this.#welcome }, () => {});
      if (message.hello.loadIntervalMs) this.#reportLoad(message.hello.loadIntervalMs);
    } catch (cause) {
      const error = TransportError.from(cause);
      this.#service.refused?.(error.code, this.#origin.caller);
      this.#fail(error);
    }
  }

  #take(message: ClientMessage): void {
    this.#busy++;
    const refusal = this.#refused(message);
    const request = message.kind === 'request' ? message.request : undefined;
    if (refusal) {
      if (refusal.error) this.#service.refused?.(refusal.error.code, this.#origin.caller, request);
      this.#reply(refusal);
    } else if (request) {
      this.#infer(request);
    }
  }

  #refused(message: ClientMessage): InferResponse | undefined {
    if (message.kind !== 'request') {
      const what = message.kind === 'hello' ? 'a second Hello' : 'a message that cannot be read';
      return errorResponse(0, 'bad-request', `the cloud got ${what}`);
    }
    const { request } = message;
    const { id } = request;
    // What its credit let the client send before it could hear the GoAway is served like the rest.
    if (this.#draining !== undefined && ++this.#late > this.#limits.maxInFlight) {
      return errorResponse(id, 'draining', `${this.#draining}: ask another`);
    }
    if (id === 0) return errorResponse(id, 'bad-request', 'the id of a request on a stream is at least 1');
    if (this.#inFlight.has(id)) return errorResponse(id, 'bad-request', `request ${id} is already in flight`);
    return refused(request, this.#limits);
  }

  #infer(request: InferRequest): void {
    const { id } = request;
    const context = new RequestContext(this.#origin, request);
    if (request.moreSlices) {
      const ask = (margin: number): void => {
        if (!this.#closed) this.#link.send({ kind: 'more', more: { id, margin } }, () => {});
      };
      context.later = new SliceFeed(request, this.#limits.maxPayloadBytes, ask);
    }
    this.#inFlight.set(id, context);
    if (!this.#timer) this.#after(this.#limits.messageTimeoutMs, () => this.#timeOut());
    const done = (response: InferResponse): void => {
      if (this.#inFlight.get(id) !== context) return; // timed out, or the client is gone
      this.#inFlight.delete(id);
      this.#reply(response);
    };
    this.#service.infer(request, context).then(done, (cause) => done(failed(id, cause)));
  }

  #reply(response: InferResponse): void {
    if (this.#closed) return;
    // The slot stays taken until the answer is on its way, so a client that does not read fills no memory.
    this.#link.send({ kind: 'response', response: this.#withoutVersion(response) }, this.#taken);
  }

  readonly #taken = (): void => {
    this.#busy--;
    const held = this.#held;
    if (held && !this.#closed) {
      this.#held = undefined;
      this.#take(held);
      this.#link.resume();
    }
    this.#endIfDone();
  };

  /** Answers what the service has not: the slot is free again, and the client knows. */
  #timeOut(): void {
    const { messageTimeoutMs } = this.#limits;
    for (const [id, context] of this.#inFlight) {
      const left = context.since + messageTimeoutMs - performance.now();
      if (left > 0) {
        this.#after(left, () => this.#timeOut());
        return;
      }
      const error = new TransportError('deadline', `not answered within ${messageTimeoutMs} ms`);
      this.#inFlight.delete(id);
      context.abort(error);
      this.#reply(failed(id, error));
    }
  }

  /** Tells how busy the service is, now and whenever that has changed. A client that does not read is not told. */
  #reportLoad(intervalMs: number): void {
    let told: Load | undefined;
    let taken = true;
    const report = (): void => {
      if (!this.#service.load || !taken) return;
      const { images, ...load } = this.#service.load();
      const others = Math.max(0, images - this.#inFlight.size);
      const queueMs = load.imagesPerSecond > 0 ? (1000 * others) / load.imagesPerSecond : 0;
      const now = { ...load, queueMs };
      if (told && !hasChanged(told, now)) return;
      told = now;
      taken = false;
      this.#link.send({ kind: 'load', load: now }, () => (taken = true));
    };
    report();
    const ms = Math.min(Math.max(intervalMs, LEAST_REPORT_MS), MOST_REPORT_MS);
    this.#reports = setInterval(report, ms);
    this.#reports.unref?.();
  }

  /** One timer for all that is in flight: the oldest is due first. */
  #after(delayMs: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      then();
    }, Math.ceil(delayMs));
    this.#timer.unref?.();
  }

  /** The client knows the version that Welcome named: it costs no bytes. */
  #withoutVersion(response: InferResponse): InferResponse {
    const known = response.bundleVersion === this.#welcome?.bundleVersion;
    return known ? { ...response, bundleVersion: '' } : response;
  }

  #endIfDone(): void {
    if (this.#closed || !this.#clientEnded || this.#busy > 0 || this.#held) return;
    this.#close();
    this.#link.end();
  }

  #fail(error: TransportError): void {
    this.#close();
    this.#link.fail(error);
  }

  #close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#reports);
  }
}
