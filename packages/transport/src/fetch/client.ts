import { ClientStream } from '../client-stream.ts';
import type { ClientLink } from '../client-stream.ts';
import { ENDPOINT_PATH, PROTOBUF_TYPE } from '../endpoint.ts';
import { TransportError } from '../errors.ts';
import type { TransportErrorCode } from '../errors.ts';
import { errorResponse } from '../messages.ts';
import type { BundleInfo, Hello, InferRequest, InferResponse, ServerMessage } from '../messages.ts';
import type { CallOptions, InferStream, Transport } from '../transport.ts';
import { decodeBundleInfo, decodeServerMessage, encodeHello, encodeRequest } from './wire.ts';

// A browser cannot send a stream of requests. So each is a POST of its own, several at a time, and a stream is what the
// client makes of them: a Hello, requests whose answers come as they are ready, an end.

export interface FetchOptions {
  /** Sent as `authorization: Bearer`, over https or to this machine only. A function is asked for each call. */
  readonly token?: string | (() => string);
  /** Default: the global one. */
  readonly fetch?: typeof fetch;
  /** ms until a cloud must have answered a Hello, or a single call beyond its own timeout; 10,000 unless given. */
  readonly answerTimeoutMs?: number;
}

/** A transport over an HTTP endpoint. */
export interface FetchTransport extends Transport {
  /**
   * A file of a bundle from byte `offset` on, in chunks.
   * @param sha256 of the whole file: what has another is not found, and what is may be kept for ever by whoever passes it on
   */
  fetchFile(bundle: string, file: string, offset?: number, sha256?: string): AsyncIterable<Uint8Array>;
}

/**
 * A transport over the endpoint at `cloud`, for instance `https://cloud.example` or a page's own `location.origin`.
 * @throws TransportError 'bad-request' for no such address, or a token that could be read on its way
 */
export function connectFetch(cloud: string, options: FetchOptions = {}): FetchTransport {
  const base = URL.canParse(cloud) ? new URL(cloud) : undefined;
  if (!base || !/^https?:$/.test(base.protocol)) {
    throw new TransportError(
      'bad-request',
      `an endpoint is https://host or http://host:port, not "${cloud}"`,
    );
  }
  if (options.token !== undefined && base.protocol === 'http:' && !isLoopback(base.hostname)) {
    const message = `a token to ${cloud} could be read on its way: use https`;
    throw new TransportError('bad-request', message);
  }
  return new Client(base, options);
}

function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(host);
}

class Client implements FetchTransport {
  readonly #address: string;
  readonly #root: URL;
  readonly #fetch: typeof fetch;
  readonly #token: string | (() => string) | undefined;
  readonly #answerTimeoutMs: number;
  readonly #calls = new Set<Call>();
  #closed = false;

  constructor(base: URL, { token, fetch: given, answerTimeoutMs = 10_000 }: FetchOptions) {
    this.#address = base.href.replace(/\/$/, '');
    this.#root = new URL(this.#address + ENDPOINT_PATH);
    // called as a function: a browser's fetch must not have another `this`
    this.#fetch = given ?? ((input, init) => fetch(input, init));
    this.#token = token;
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  async openStream(hello: Hello, { signal }: CallOptions = {}): Promise<InferStream> {
    const link = this.#begin();
    const stream = new ClientStream(this.#address, (events) => this.#link(events, link));
    const timer = setTimeout(() => stream.abort(this.#silent()), this.#answerTimeoutMs);
    try {
      return await stream.open(hello, signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async inferOnce(request: InferRequest, { signal }: CallOptions = {}): Promise<InferResponse> {
    const call = this.#begin(signal, (request.timeoutMs ?? 0) + this.#answerTimeoutMs);
    try {
      return await this.#infer(request, call.signal);
    } finally {
      call.end();
    }
  }

  async getBundle(name = ''): Promise<BundleInfo> {
    const call = this.#begin(undefined, this.#answerTimeoutMs);
    try {
      const path = name === '' ? 'bundle' : `bundle/${encodeURIComponent(name)}`;
      const response = await this.#request(path, {}, call.signal);
      await this.#check(response, call.signal);
      return await this.#read(response, decodeBundleInfo, call.signal);
    } finally {
      call.end();
    }
  }

  async *fetchFile(
    bundle: string,
    file: string,
    offset = 0,
    sha256?: string,
  ): AsyncGenerator<Uint8Array, void> {
    const call = this.#begin();
    try {
      const headers: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
      const path = `bundle/${encodeURIComponent(bundle)}/${encodeURIComponent(file)}`;
      const query = sha256 === undefined ? '' : `?sha256=${sha256}`;
      const response = await this.#request(path + query, { headers }, call.signal);
      if (response.status === 416) return; // all of it was there before
      await this.#check(response, call.signal);
      let skip = response.status === 206 ? 0 : offset; // a cloud that does not know the file's size sends all
      const reader = response.body!.getReader(); // a GET's answer has one
      for (;;) {
        const { done, value } = await reader.read().catch((cause) => this.#throw(cause, call.signal));
        if (done) return;
        const wanted = value.subarray(Math.min(skip, value.length));
        skip -= value.length - wanted.length;
        if (wanted.length > 0) yield wanted;
      }
    } finally {
      call.abort(); // a reader may leave early
      call.end();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls) call.abort(closedError());
  }

  /** The way of a stream's messages: every request is a call of its own. */
  #link(stream: ClientStream, link: Call): ClientLink {
    const requests = new Map<number, AbortController>();
    let ending = false;
    link.signal.addEventListener('abort', () => {
      link.end();
      stream.broken(TransportError.cancelled(link.signal)); // unless it is why
      for (const request of requests.values()) request.abort(link.signal.reason);
    });
    const endIfDone = (): void => {
      if (!ending || requests.size > 0) return;
      link.end();
      stream.ended();
    };

    const open = async (hello: Hello): Promise<void> => {
      try {
        const said = await this.#post('hello', encodeHello(hello), link.signal);
        if (said.kind === 'response' && said.response.error) throw errorOf(said.response.error);
        stream.receive(said);
      } catch (cause) {
        link.abort(TransportError.from(cause));
      }
    };
    const infer = async (request: InferRequest): Promise<void> => {
      const { id } = request;
      const own = new AbortController();
      requests.set(id, own);
      let response: InferResponse;
      try {
        response = await this.#infer(request, own.signal);
      } catch (cause) {
        if (!own.signal.aborted) link.abort(TransportError.from(cause));
        response = errorResponse(id, 'cancelled', 'cancelled by the client');
      }
      const { error } = response;
      if (error?.code === 'draining') stream.receive({ kind: 'goAway', reason: error.message });
      stream.receive({ kind: 'response', response });
      if (requests.get(id) === own) requests.delete(id);
      endIfDone();
    };

    return {
      send(message, taken) {
        if (message.kind === 'hello') void open(message.hello);
        else if (message.kind === 'request') void infer(message.request);
        else if (message.kind === 'cancel') requests.get(message.id)?.abort();
        taken();
      },
      end() {
        ending = true;
        endIfDone();
      },
      abort: () => link.abort(),
    };
  }

  /** @throws TransportError about the link; what a cloud or a proxy says of the request is its answer */
  async #infer(request: InferRequest, signal: AbortSignal): Promise<InferResponse> {
    try {
      const said = await this.#post('infer', encodeRequest(request), signal);
      if (said.kind !== 'response') throw this.#noRaccoon();
      return { ...said.response, id: request.id };
    } catch (cause) {
      const error = TransportError.from(cause);
      if (error.code !== 'payload-too-large' && error.code !== 'rate-limited') throw error;
      return errorResponse(request.id, error.code, error.message, error.retryAfterMs);
    }
  }

  async #post(path: string, body: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<ServerMessage> {
    const headers = { 'content-type': PROTOBUF_TYPE };
    const response = await this.#request(path, { method: 'POST', headers, body, cache: 'no-store' }, signal);
    if (!isOurs(response)) throw this.#bare(response);
    return this.#read(response, decodeServerMessage, signal);
  }

  /** @throws TransportError when no answer comes */
  async #request(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const token = typeof this.#token === 'function' ? this.#token() : this.#token;
    const headers = new Headers(init.headers);
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
    try {
      return await this.#fetch(new URL(path, this.#root), { ...init, headers, signal });
    } catch (cause) {
      return this.#throw(cause, signal);
    }
  }

  /** An answer's body. */
  async #read<T>(response: Response, decode: (bytes: Uint8Array) => T, signal: AbortSignal): Promise<T> {
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch (cause) {
      return this.#throw(cause, signal);
    }
    try {
      return decode(bytes);
    } catch (cause) {
      throw this.#noRaccoon(cause);
    }
  }

  /** @throws TransportError when it is not what was asked for */
  async #check(response: Response, signal: AbortSignal): Promise<void> {
    if (response.ok) return;
    if (!isOurs(response)) throw this.#bare(response);
    const said = await this.#read(response, decodeServerMessage, signal);
    throw said.kind === 'response' && said.response.error ? errorOf(said.response.error) : this.#noRaccoon();
  }

  /** What a status says that is not a Raccoon cloud's: a proxy's, or some other server's. */
  #bare({ status }: Response): TransportError {
    const code = codeOfStatus(status);
    if (code === 'protocol') return this.#noRaccoon();
    return new TransportError(
      code,
      `something before the cloud at ${this.#address} answers with HTTP ${status}`,
    );
  }

  #throw(cause: unknown, signal: AbortSignal): never {
    if (signal.aborted) throw TransportError.cancelled(signal);
    // A browser does not tell a page why: nobody there, no leave to read the answer, no network.
    const message = `no Raccoon endpoint answers at ${this.#address} - is \`raccoon cloud --http\` running there, and may this page ask it (--http-origin)?`;
    throw new TransportError('unavailable', message, { cause });
  }

  /** @throws TransportError 'cancelled' when it was aborted before, or this transport is closed */
  #begin(signal?: AbortSignal, timeoutMs?: number): Call {
    if (this.#closed) throw closedError();
    if (signal?.aborted) throw TransportError.cancelled(signal);
    const stop = new AbortController();
    const aborted = (): void => stop.abort(signal?.reason);
    signal?.addEventListener('abort', aborted);
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(() => stop.abort(this.#silent()), timeoutMs);
    const call: Call = {
      signal: stop.signal,
      abort: (reason) => stop.abort(reason),
      end: () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        this.#calls.delete(call);
      },
    };
    this.#calls.add(call);
    return call;
  }

  #silent(): TransportError {
    return new TransportError('unavailable', `the cloud at ${this.#address} does not answer`);
  }

  #noRaccoon(cause?: unknown): TransportError {
    const message = `what answers at ${this.#address} is not a Raccoon endpoint`;
    return new TransportError('protocol', message, { cause });
  }
}

/** Something under way that its caller, `close`, or its time may end. */
interface Call {
  readonly signal: AbortSignal;
  abort(reason?: TransportError): void;
  /** It is over: nothing ends it any more. */
  end(): void;
}

const closedError = (): TransportError => new TransportError('cancelled', 'the transport was closed');

function isOurs(response: Response): boolean {
  return response.headers.get('content-type') === PROTOBUF_TYPE;
}

function errorOf({ code, message, retryAfterMs }: NonNullable<InferResponse['error']>): TransportError {
  return new TransportError(code, message, { retryAfterMs });
}

/** The code that a status stands for without a word of ours. */
function codeOfStatus(status: number): TransportErrorCode {
  if (status === 401) return 'unauthenticated';
  if (status === 403) return 'forbidden';
  if (status === 413) return 'payload-too-large';
  if (status === 429) return 'rate-limited';
  return status >= 500 || status === 408 ? 'unavailable' : 'protocol';
}
