import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { Server as TcpServer, type AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { TLSSocket } from 'node:tls';
import { ENDPOINT_PATH, PROTOBUF_TYPE } from '../endpoint.ts';
import { errorTable, TransportError } from '../errors.ts';
import { errorResponse } from '../messages.ts';
import type { ClientMessage, InferRequest, InferResponse, ServerMessage } from '../messages.ts';
import { limitsFrom } from '../protocol.ts';
import type { Limits } from '../protocol.ts';
import { answer, RequestContext } from '../server-stream.ts';
import { traceFrom } from '../trace.ts';
import type { InferenceService, Origin } from '../transport.ts';
import { bundleInfoWire, clientMessageWire, serverMessageWire } from '../wire.ts';
import { bearer, byAddress, type Authenticate } from './gate.ts';
import { readBody } from './http-body.ts';
import { Cors } from './http-cors.ts';
import { etagOf, fileAnswer } from './http-files.ts';
import { parseListen } from './listener.ts';
import { ServerIdentity, type ServerTls } from './tls.ts';

// The endpoint for who cannot speak gRPC, a browser above all: the messages of a stream, each as a POST of its own.

export interface HttpServerOptions extends Partial<Limits> {
  /** host:port; port 0 takes a free one. */
  readonly listen: string;
  /** Absent: no TLS. */
  readonly tls?: ServerTls;
  /** Origins whose pages may call, such as `https://example.org`, or `*`; absent: those of this address only. */
  readonly allowOrigins?: readonly string[];
  /** Asked for each call. Absent: everyone may, by the name of its certificate or host. */
  readonly authenticate?: Authenticate;
  /** Answers what is not the endpoint's: a page, say. Absent: it is not found. */
  readonly fallback?: HttpFallback;
  /** Connections at a time; more are closed at once. Default 4096. */
  readonly maxConnections?: number;
}

export type HttpFallback = (request: IncomingMessage, response: ServerResponse) => void;

export interface HttpServer {
  /** host:port, with the port that was taken. */
  readonly address: string;
  readonly port: number;
  /** Open connections. */
  readonly connections: number;
  /**
   * Takes no new connection, answers what is in flight for up to `graceMs` and what comes meanwhile with 'draining', then
   * closes.
   */
  drain(graceMs: number): Promise<void>;
  /** Closes at once: every link breaks. */
  close(): void;
}

/** Room for a message's other fields, and for a Hello with a hundred codecs. */
const slackBytes = 1024;
/** Manifests and files under way at a time: each holds its bytes until its client has read them. */
const maxDownloads = 64;
/** ms until a request's headers must have come. */
const headersTimeoutMs = 10_000;
/** ms that an idle connection is kept: a new one costs a browser two or three round trips. */
const keepAliveMs = 60_000;

/**
 * @throws TransportError 'bad-request' for no address, an origin that is none, or TLS files that cannot be used;
 * 'unavailable' for an address that cannot be listened on
 */
export async function serveHttp(service: InferenceService, options: HttpServerOptions): Promise<HttpServer> {
  const { listen, tls, maxConnections = 4096 } = options;
  const { host, port: wanted } = parseListen(listen);
  const limits = limitsFrom(options);
  const identity = tls && new ServerIdentity(tls);
  const endpoint = new Endpoint(service, limits, options, identity);
  const server = identity ? createTlsServer({ ...identity.options }) : createServer();
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    void endpoint.handle(request, response);
  });
  server.maxConnections = maxConnections;
  server.headersTimeout = Math.min(headersTimeoutMs, limits.messageTimeoutMs);
  server.requestTimeout = limits.messageTimeoutMs;
  server.keepAliveTimeout = keepAliveMs;
  server.on('tlsClientError', () => {}); // the client learned of it
  let connections = 0;
  server.on(identity ? 'secureConnection' : 'connection', (socket: { once: TLSSocket['once'] }) => {
    connections++;
    socket.once('close', () => connections--);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const message = `cannot listen on ${host}:${wanted}: ${cause.message} - is the port taken?`;
      reject(new TransportError('unavailable', message, { cause }));
    });
    server.listen(wanted, host, resolve);
  });
  if (identity && 'setSecureContext' in server) identity.watch(server);
  // listen() was given a host and a port
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { port } = server.address() as AddressInfo;
  const close = (): void => {
    identity?.unwatch();
    server.close();
    server.closeAllConnections();
  };
  return {
    address: listen.replace(/\d+$/, String(port)),
    port,
    get connections() {
      return connections;
    },
    async drain(graceMs) {
      // Without what an HTTP server's own close does first: an idle client is to hear why, not to find its link broken.
      const closed = new Promise((resolve) => TcpServer.prototype.close.call(server, resolve));
      await endpoint.drain('the cloud is shutting down', graceMs);
      close();
      await closed;
    },
    close,
  };
}

/** Carries calls between HTTP and the service. */
class Endpoint {
  readonly #service: InferenceService;
  readonly #limits: Limits;
  readonly #authenticate: Authenticate;
  readonly #public: boolean;
  readonly #cors: Cors;
  readonly #fallback: HttpFallback;
  readonly #identity: ServerIdentity | undefined;
  #calls = 0;
  #downloads = 0;
  #leaving: string | undefined;
  #onIdle = (): void => {};

  constructor(
    service: InferenceService,
    limits: Limits,
    { authenticate, allowOrigins = [], fallback = nothingHere }: HttpServerOptions,
    identity: ServerIdentity | undefined,
  ) {
    this.#service = service;
    this.#limits = limits;
    this.#authenticate = authenticate ?? byAddress;
    this.#public = authenticate === undefined;
    this.#cors = new Cors(allowOrigins);
    this.#fallback = fallback;
    this.#identity = identity;
  }

  /** Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {}); // 'close' follows
    const target = request.url ?? '/';
    if (!target.startsWith(ENDPOINT_PATH) || !URL.canParse(target, base)) {
      this.#fallback(request, response);
      return;
    }
    const url = new URL(target, base);
    const cors = this.#cors.headers(request);
    response.setHeaders(new Map(Object.entries({ ...cors, 'x-content-type-options': 'nosniff' })));
    if (request.method === 'OPTIONS') {
      response.writeHead(204, this.#cors.preflight()).end();
      return;
    }
    this.#calls++;
    response.once('close', () => {
      if (--this.#calls === 0) this.#onIdle();
    });
    try {
      if (this.#leaving !== undefined) {
        response.setHeader('connection', 'close'); // a balancer's next one goes elsewhere
        throw new TransportError('draining', `${this.#leaving}: ask another`);
      }
      await this.#route(request, response, url);
    } catch (cause) {
      fail(response, TransportError.from(cause));
    }
  }

  /** Resolves when nothing is in flight, or after `graceMs`. */
  async drain(reason: string, graceMs: number): Promise<void> {
    this.#leaving = reason;
    if (this.#calls === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** @throws TransportError, what the service throws */
  async #route(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const [call, name, file, ...more] = url.pathname.slice(ENDPOINT_PATH.length).split('/').map(decode);
    const method = call === 'bundle' ? 'GET' : 'POST';
    const known = call === 'hello' || call === 'infer' ? name === undefined : call === 'bundle';
    if (!known || more.length > 0) {
      throw new TransportError(
        'not-found',
        `the endpoint has no ${url.pathname}: is this client newer than the cloud?`,
      );
    }
    if (request.method !== method) {
      response.setHeader('allow', method);
      throw new TransportError('bad-request', `${url.pathname} takes ${method}, not ${request.method}`);
    }
    const origin = this.#admit(request);
    if (call === 'hello') await this.#hello(request, response, origin);
    else if (call === 'infer') await this.#infer(request, response, origin);
    else if (file === undefined) await this.#bundle(request, response, origin, name ?? '');
    else await this.#file(request, response, origin, name ?? '', file, url.searchParams.get('sha256'));
  }

  /** @throws TransportError 'unauthenticated' */
  #admit({ socket, headers }: IncomingMessage): Origin {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    const client = socket instanceof TLSSocket ? this.#identity?.clientOf(socket) : undefined;
    if (client?.refusal) throw new TransportError('unauthenticated', client.refusal);
    const token = bearer(headers.authorization);
    const caller = this.#authenticate({
      peer,
      ...(token !== undefined && { token }),
      ...(client?.certificateName !== undefined && { certificateName: client.certificateName }),
    });
    const trace = traceFrom(one(headers['traceparent']), one(headers['tracestate']));
    return { peer, caller, ...(trace && { trace }) };
  }

  async #hello(request: IncomingMessage, response: ServerResponse, origin: Origin): Promise<void> {
    try {
      const message = await this.#read(request);
      if (message.kind !== 'hello') throw unreadable();
      const { maxInFlight, maxPayloadBytes } = this.#limits;
      const said = this.#service.hello(message.hello, origin.caller);
      const welcome = { ...said, maxInFlight, maxPayloadBytes, maxSlices: 0 };
      say(response, 200, { kind: 'welcome', welcome });
    } catch (cause) {
      const error = TransportError.from(cause);
      this.#service.refused?.(error.code, origin.caller);
      throw error;
    }
  }

  async #infer(request: IncomingMessage, response: ServerResponse, origin: Origin): Promise<void> {
    let asked: InferRequest;
    try {
      const message = await this.#read(request);
      if (message.kind !== 'request') throw unreadable();
      asked = message.request;
    } catch (cause) {
      const error = TransportError.from(cause);
      this.#service.refused?.(error.code, origin.caller);
      throw error;
    }
    const context = new RequestContext(origin, asked);
    response.once('close', () => context.abort(new TransportError('cancelled', 'the client is gone')));
    const said = await this.#answer(asked, context);
    say(response, said.error ? errorTable[said.error.code].http : 200, { kind: 'response', response: said });
  }

  /** The service's answer, or after `messageTimeoutMs` one that says that there is none. */
  async #answer(asked: InferRequest, context: RequestContext): Promise<InferResponse> {
    const { messageTimeoutMs } = this.#limits;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<InferResponse>((resolve) => {
      timer = setTimeout(() => {
        const error = new TransportError('deadline', `not answered within ${messageTimeoutMs} ms`);
        context.abort(error);
        resolve(errorResponse(asked.id, error.code, error.message));
      }, messageTimeoutMs);
    });
    const answered = await Promise.race([answer(this.#service, this.#limits, asked, context), late]);
    clearTimeout(timer);
    return answered;
  }

  async #bundle(
    request: IncomingMessage,
    response: ServerResponse,
    { caller }: Origin,
    name: string,
  ): Promise<void> {
    this.#beginDownload(response);
    const body = bundleInfoWire.encode(await this.#service.getBundle(name, caller));
    const etag = etagOf(body);
    const headers = { 'content-type': PROTOBUF_TYPE, 'cache-control': 'no-cache', etag };
    if (request.headers['if-none-match']?.includes(etag)) response.writeHead(304, headers).end();
    else response.writeHead(200, { ...headers, 'content-length': body.length }).end(body);
  }

  async #file(
    request: IncomingMessage,
    response: ServerResponse,
    { caller }: Origin,
    name: string,
    file: string,
    sha256: string | null,
  ): Promise<void> {
    this.#beginDownload(response);
    const info = await this.#service.getBundle(name, caller);
    if (file === 'manifest.json') {
      const etag = etagOf(info.manifest);
      const headers = { 'content-type': 'application/json', 'cache-control': 'no-cache', etag };
      response.writeHead(200, { ...headers, 'content-length': info.manifest.length }).end(info.manifest);
      return;
    }
    const { status, headers, from, bytes } = fileAnswer(info, file, sha256, this.#public, request);
    if (bytes === 0) {
      response.writeHead(status, headers).end();
      return;
    }
    const chunks = this.#service.fetchFile(name, file, from, caller)[Symbol.asyncIterator]();
    const first = await chunks.next(); // throws when there is no such file
    response.writeHead(status, headers);
    await pipeline(Readable.from(upTo(bytes, first, chunks)), response).catch(() => undefined); // the client is gone
  }

  /** @throws TransportError 'overloaded' */
  #beginDownload(response: ServerResponse): void {
    if (this.#downloads >= maxDownloads) {
      const message = `${maxDownloads} downloads are under way: try again later`;
      throw new TransportError('overloaded', message, { retryAfterMs: 1000 });
    }
    this.#downloads++;
    response.once('close', () => this.#downloads--);
  }

  /** @throws TransportError 'bad-request', 'payload-too-large', 'cancelled' */
  async #read(request: IncomingMessage): Promise<ClientMessage> {
    // Only what a browser asks leave for first: no page of another origin gets this far without it.
    if (request.headers['content-type'] !== PROTOBUF_TYPE) {
      throw new TransportError(
        'bad-request',
        `a message to the endpoint has the content type ${PROTOBUF_TYPE}`,
      );
    }
    return clientMessageWire.decode(await readBody(request, this.#limits.maxPayloadBytes + slackBytes));
  }
}

/** For paths, which are all that matters of an URL here. */
const base = 'http://localhost';

const unreadable = (): TransportError =>
  new TransportError('bad-request', 'the cloud got a message that cannot be read');

function nothingHere(_: IncomingMessage, response: ServerResponse): void {
  const text = `Nothing is here. The Raccoon endpoint is under ${ENDPOINT_PATH} (docs/web.md).\n`;
  response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

function fail(response: ServerResponse, { code, message, retryAfterMs }: TransportError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (code === 'payload-too-large') response.setHeader('connection', 'close'); // what else it sends is not read
  if (retryAfterMs > 0) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000));
  if (code === 'unauthenticated') response.setHeader('www-authenticate', 'Bearer');
  const said = errorResponse(0, code, message, retryAfterMs);
  say(response, errorTable[code].http, { kind: 'response', response: said });
}

function say(response: ServerResponse, status: number, message: ServerMessage): void {
  const body = serverMessageWire.encode(message);
  const headers = {
    'content-type': PROTOBUF_TYPE,
    'content-length': body.length,
    'cache-control': 'no-store',
  };
  response.writeHead(status, headers).end(body);
}

/** So many bytes of `chunks`, the first of which was taken. */
async function* upTo(
  bytes: number,
  first: IteratorResult<Uint8Array, unknown>,
  chunks: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let left = bytes;
  try {
    for (let next = first; !next.done && left > 0; next = await chunks.next()) {
      yield next.value.subarray(0, Math.min(left, next.value.length));
      left -= next.value.length;
    }
  } finally {
    await chunks.return?.();
  }
}

/** @throws TransportError 'bad-request' */
function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw new TransportError('bad-request', `${segment} cannot be read as a part of a path`, { cause });
  }
}

function one(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined;
}
