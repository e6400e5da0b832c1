import { Client, credentials, Metadata } from '@grpc/grpc-js';
import type { MethodDefinition } from '@grpc/grpc-js';
import { ClientStream } from '../client-stream.ts';
import type { ClientLink } from '../client-stream.ts';
import { TransportError } from '../errors.ts';
import { errorResponse } from '../messages.ts';
import type { BundleInfo, Hello, InferRequest, InferResponse, ServerMessage } from '../messages.ts';
import type { CallOptions, InferStream, Transport } from '../transport.ts';
import { methods } from './methods.ts';
import { fromStatus } from './status.ts';
import { channelCredentials, tlsProblem, type ClientTls } from './tls.ts';

export interface GrpcClientOptions {
  /** `true`: by the authorities that Node knows. Absent: without TLS. */
  readonly tls?: ClientTls | true;
  /** Sent as `authorization: Bearer`, over TLS or to this machine only. A function is asked for each stream and call. */
  readonly token?: string | (() => string);
  /** ms until a cloud must have answered a Hello, or a single call beyond its own timeout; 10,000 unless given. */
  readonly answerTimeoutMs?: number;
}

/** The largest message from a cloud: a manifest of some thousand classes. */
const maxReceiveBytes = 4 * 1024 * 1024;

/**
 * A transport over one connection to `target` (host:port), made with the first call and again when it breaks.
 * @throws TransportError 'bad-request' for TLS files that cannot be used, or a token without TLS
 */
export function connectGrpc(target: string, options: GrpcClientOptions = {}): Transport {
  if (options.token !== undefined && !options.tls && !isLoopback(target)) {
    const message = `a token to ${target} could be read on its way: connect with tls (raccoon edge --tls-ca, or --tls)`;
    throw new TransportError('bad-request', message);
  }
  return new GrpcTransport(target, options);
}

function isLoopback(target: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(target);
}

class GrpcTransport implements Transport {
  readonly #target: string;
  readonly #answerTimeoutMs: number;
  readonly #token: string | (() => string) | undefined;
  readonly #client: Client;
  readonly #calls = new Set<{ cancel(): void }>();
  #closed = false;

  constructor(target: string, { answerTimeoutMs = 10_000, tls, token }: GrpcClientOptions) {
    this.#target = target;
    this.#answerTimeoutMs = answerTimeoutMs;
    this.#token = token;
    const serverName = tls === true ? undefined : tls?.serverName;
    this.#client = new Client(target, tls ? channelCredentials(tls) : credentials.createInsecure(), {
      ...(serverName !== undefined && {
        'grpc.ssl_target_name_override': serverName,
        'grpc.default_authority': serverName,
      }),
      'grpc.max_receive_message_length': maxReceiveBytes,
      'grpc.keepalive_time_ms': 20_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.max_reconnect_backoff_ms': 10_000, // of the two minutes that gRPC may wait, a cloud is back in seconds
      'grpc.enable_channelz': 0, // it would grow with every call
      'grpc.enable_retries': 0, // they would keep every message of a stream
      'grpc.use_local_subchannel_pool': 1, // a connection of our own, gone with close()
    });
  }

  async openStream(hello: Hello, { signal }: CallOptions = {}): Promise<InferStream> {
    this.#assertOpen();
    const stream = new ClientStream(this.#target, (events) => this.#link(events));
    const timer = setTimeout(() => stream.abort(this.#silent()), this.#answerTimeoutMs);
    try {
      return await stream.open(hello, signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async inferOnce(request: InferRequest, { signal }: CallOptions = {}): Promise<InferResponse> {
    const timeoutMs = (request.timeoutMs ?? 0) + this.#answerTimeoutMs;
    try {
      return await this.#unary(methods.inferOnce, request, timeoutMs, signal);
    } catch (cause) {
      const error = this.#error(cause, signal);
      // What a cloud says of this request comes as a status; what gRPC says of its size, without a code of ours.
      if (!fromStatus(cause) && error.code !== 'payload-too-large') throw error;
      return errorResponse(request.id, error.code, error.message, error.retryAfterMs);
    }
  }

  async getBundle(name = ''): Promise<BundleInfo> {
    try {
      return await this.#unary(methods.getBundle, { name }, this.#answerTimeoutMs);
    } catch (cause) {
      throw this.#error(cause);
    }
  }

  async *fetchFile(bundle: string, file: string, offset = 0): AsyncGenerator<Uint8Array, void> {
    this.#assertOpen();
    const { path, requestSerialize, responseDeserialize } = methods.fetchFile;
    const request = { bundle, file, offset };
    const call = this.#client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      this.#metadata(),
    );
    call.on('error', () => {}); // one more comes after a reader that left early
    this.#calls.add(call);
    try {
      const chunks: AsyncIterable<Uint8Array> = call;
      for await (const chunk of chunks) yield chunk;
    } catch (cause) {
      throw this.#error(cause);
    } finally {
      this.#calls.delete(call);
      call.cancel();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls) call.cancel();
    this.#client.close();
  }

  #link(events: ClientStream): ClientLink {
    const { path, requestSerialize, responseDeserialize } = methods.infer;
    const call = this.#client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      this.#metadata(),
    );
    let failure: unknown;
    call.on('data', (message: ServerMessage) => events.receive(message));
    call.on('error', (cause) => {
      failure = cause;
    });
    // grpc-js ends a stream that failed, too, and not before the last message.
    call.on('end', () => {
      this.#calls.delete(call);
      if (failure) events.broken(this.#error(failure));
      else events.ended();
    });
    this.#calls.add(call);
    return {
      send: (message, taken) => call.write(message, taken),
      end: () => call.end(),
      abort: () => call.cancel(),
    };
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    const token = typeof this.#token === 'function' ? this.#token() : this.#token;
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
    return metadata;
  }

  /** Rejects with what grpc-js says. */
  #unary<Q, S>(
    method: MethodDefinition<Q, S>,
    request: Q,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<S> {
    this.#assertOpen();
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.#metadata(),
        { deadline: Date.now() + timeoutMs },
        (cause, response) => {
          signal?.removeEventListener('abort', cancel);
          this.#calls.delete(call);
          if (response === undefined) reject(cause);
          else resolve(response);
        },
      );
      const cancel = (): void => call.cancel();
      signal?.addEventListener('abort', cancel);
      this.#calls.add(call);
    });
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError();
  }

  #error(cause: unknown, signal?: AbortSignal): TransportError {
    if (this.#closed) return closedError();
    if (signal?.aborted) return TransportError.cancelled(signal);
    const said = fromStatus(cause) ?? tlsProblem(cause, this.#target);
    if (said) return said;
    const error = TransportError.from(cause, this.#target);
    const { code } = error;
    // Not by us: the other end of the connection died.
    if (code === 'cancelled')
      return new TransportError('unavailable', `the link to ${this.#target} broke`, { cause });
    if (code === 'deadline') return this.#silent(); // ours; a deadline that the cloud saw comes with its code
    if (code !== 'protocol') return error;
    return new TransportError('protocol', `what answers at ${this.#target} is not a Raccoon cloud`, {
      cause,
    });
  }

  #silent(): TransportError {
    return new TransportError('unavailable', `the cloud at ${this.#target} does not answer`);
  }
}

const closedError = (): TransportError => new TransportError('cancelled', 'the transport was closed');
