import { TransportError } from './errors.ts';
import { errorResponse } from './messages.ts';
import type { ClientMessage, InferRequest, InferResponse, ServerMessage, Welcome } from './messages.ts';
import type { Limits } from './protocol.ts';
import type { InferContext, InferenceService } from './transport.ts';

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

/** The request, answered by the service or refused before it; never rejects. */
export async function answer(
  service: InferenceService,
  limits: Limits,
  request: InferRequest,
  context: InferContext,
): Promise<InferResponse> {
  const { id, payload, sliceIndex, moreSlices } = request;
  if (payload.length > limits.maxPayloadBytes) return tooLarge(request, limits.maxPayloadBytes);
  if (sliceIndex || moreSlices) {
    return errorResponse(id, 'bad-request', 'protocol 1 takes an image as one slice: send it as one');
  }
  try {
    return await service.infer(request, context);
  } catch (cause) {
    const { code, message, retryAfterMs } = TransportError.from(cause);
    return errorResponse(id, code, message, retryAfterMs);
  }
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
  readonly #peer: string;
  readonly #link: ServerLink;
  readonly #inFlight = new Map<number, AbortController>();
  #welcome: Welcome | undefined;
  #busy = 0; // messages taken whose answer the carrier has not
  #held: ClientMessage | undefined; // the one message read above the limit
  #clientEnded = false;
  #draining = false;
  #closed = false;

  constructor(service: InferenceService, limits: Limits, peer: string, link: ServerLink) {
    this.#service = service;
    this.#limits = limits;
    this.#peer = peer;
    this.#link = link;
  }

  receive(message: ClientMessage): void {
    if (this.#closed) return;
    if (!this.#welcome) {
      this.#open(message);
    } else if (message.kind === 'cancel') {
      this.#inFlight.get(message.id)?.abort(new TransportError('cancelled', 'cancelled by the client'));
    } else if (this.#busy < this.#limits.maxInFlight) {
      void this.#answer(message);
    } else {
      this.#held = message;
      this.#link.pause();
    }
  }

  /** The client sends no more. */
  clientEnded(): void {
    this.#clientEnded = true;
    this.#endIfDone();
  }

  /** The link is gone. */
  gone(): void {
    this.#closed = true;
    const reason = new TransportError('cancelled', 'the client is gone');
    for (const controller of this.#inFlight.values()) controller.abort(reason);
  }

  /** Take nothing new, answer what was taken, and let the client end the stream. */
  drain(): void {
    if (this.#closed || this.#draining) return;
    this.#draining = true;
    if (this.#welcome) this.#link.send({ kind: 'goAway', reason: 'the cloud is shutting down' }, () => {});
    else this.#fail(new TransportError('draining', 'the cloud is shutting down'));
  }

  #open(message: ClientMessage): void {
    try {
      if (message.kind !== 'hello') {
        throw new TransportError('bad-request', 'the first message of a stream must be a Hello');
      }
      this.#welcome = { ...this.#service.hello(message.hello), ...this.#limits };
      this.#link.send({ kind: 'welcome', welcome: this.#welcome }, () => {});
    } catch (cause) {
      this.#fail(TransportError.from(cause));
    }
  }

  async #answer(message: ClientMessage): Promise<void> {
    this.#busy++;
    const response = await this.#respond(message);
    if (this.#closed) return;
    // The slot stays taken until the answer is on its way, so a client that does not read fills no memory.
    this.#link.send({ kind: 'response', response: this.#withoutVersion(response) }, () => {
      this.#busy--;
      const held = this.#held;
      if (held && !this.#closed) {
        this.#held = undefined;
        void this.#answer(held);
        this.#link.resume();
      }
      this.#endIfDone();
    });
  }

  async #respond(message: ClientMessage): Promise<InferResponse> {
    if (message.kind !== 'request') {
      const what = message.kind === 'hello' ? 'a second Hello' : 'a message that cannot be read';
      return errorResponse(0, 'bad-request', `the cloud got ${what}`);
    }
    const { request } = message;
    const { id } = request;
    if (this.#draining) return errorResponse(id, 'draining', 'the cloud is shutting down: ask another');
    if (id === 0) return errorResponse(id, 'bad-request', 'the id of a request on a stream is at least 1');
    if (this.#inFlight.has(id)) return errorResponse(id, 'bad-request', `request ${id} is already in flight`);
    const controller = new AbortController();
    this.#inFlight.set(id, controller);
    const context = { signal: controller.signal, peer: this.#peer };
    const response = await answer(this.#service, this.#limits, request, context);
    this.#inFlight.delete(id);
    return response;
  }

  /** The client knows the version that Welcome named: it costs no bytes. */
  #withoutVersion(response: InferResponse): InferResponse {
    const known = response.bundleVersion === this.#welcome?.bundleVersion;
    return known ? { ...response, bundleVersion: '' } : response;
  }

  #endIfDone(): void {
    if (this.#closed || !this.#clientEnded || this.#busy > 0 || this.#held) return;
    this.#closed = true;
    this.#link.end();
  }

  #fail(error: TransportError): void {
    this.#closed = true;
    this.#link.fail(error);
  }
}
