import { Server } from '@grpc/grpc-js';
import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { service as healthMethods } from 'grpc-health-check';
import { TransportError } from '../errors.ts';
import type {
  BundleInfo,
  ClientMessage,
  InferRequest,
  InferResponse,
  ServerMessage,
  Unreadable,
} from '../messages.ts';
import { limitsFrom } from '../protocol.ts';
import type { Limits } from '../protocol.ts';
import { answer, RequestContext, ServerStream } from '../server-stream.ts';
import type { InferenceService } from '../transport.ts';
import type { BundleRequest, FileRequest } from '../wire.ts';
import { Gate, type Authenticate } from './gate.ts';
import { Health, type HealthStatus } from './health.ts';
import { Listener, parseListen, type ListenerLimits } from './listener.ts';
import { methods } from './methods.ts';
import { addOpenInference, type OipModels } from './oip-server.ts';
import { addReflection } from './reflection.ts';
import { toStatus } from './status.ts';
import { ServerIdentity, type ServerTls } from './tls.ts';

export interface GrpcServerOptions extends Partial<Limits>, Partial<ListenerLimits> {
  /** host:port; port 0 takes a free one. */
  readonly listen: string;
  /** Absent: no TLS. */
  readonly tls?: ServerTls;
  /** Asked once for each stream and single call. Absent: everyone may, by the name of its certificate or host. */
  readonly authenticate?: Authenticate;
  /** The same service by the Open Inference Protocol, too; `version` is the software's. */
  readonly oip?: { readonly models: OipModels; readonly version: string };
  /** Whether clients may ask what there is to call, as grpcurl does; default true. */
  readonly reflection?: boolean;
  /** Streams and single calls of one connection at a time; more wait in their client. Default 1024. */
  readonly maxStreamsPerConnection?: number;
  /** ms of silence after which a connection is asked whether it is there, and those it has to answer; 20 s and 10 s. */
  readonly keepaliveMs?: number;
  readonly keepaliveTimeoutMs?: number;
}

export interface GrpcServer {
  /** host:port, with the port that was taken. */
  readonly address: string;
  readonly port: number;
  /** grpc.health.v1, which everyone may ask. Nothing is SERVING before it is set; '' is when all others are. */
  readonly health: {
    /** `undefined` forgets the service. */
    set(service: string, status: HealthStatus | undefined): void;
  };
  /** Open connections. */
  readonly connections: number;
  /** When the TLS certificate in use ends. */
  readonly certificateExpires: Date | undefined;
  /** Stops listening, tells streams to go away, lets what is in flight finish for up to `graceMs`, then closes. */
  drain(graceMs: number): Promise<void>;
  /** Closes at once: every link breaks. */
  close(): void;
}

/** Room for a message's other fields, and for a Hello with a hundred codecs. */
const slackBytes = 1024;
/** Bytes of one FileChunk. */
const chunkBytes = 65_536;
/** Manifests and files under way at a time: each holds its bytes until its client has read them. */
const maxDownloads = 64;

/**
 * @throws TransportError 'bad-request' for no address, or TLS files that cannot be used; 'unavailable' for an address
 * that cannot be listened on
 */
export async function serveGrpc(service: InferenceService, options: GrpcServerOptions): Promise<GrpcServer> {
  const { listen, tls, authenticate, oip, reflection = true } = options;
  const { host, port: wanted } = parseListen(listen);
  const limits = limitsFrom(options);
  const identity = tls && new ServerIdentity(tls);
  const server = new Server({
    'grpc.max_receive_message_length': limits.maxPayloadBytes + slackBytes,
    'grpc.max_concurrent_streams': options.maxStreamsPerConnection ?? 1024,
    'grpc.keepalive_time_ms': options.keepaliveMs ?? 20_000,
    'grpc.keepalive_timeout_ms': options.keepaliveTimeoutMs ?? 10_000,
    'grpc.enable_channelz': 0, // it would grow with every call
  });
  const listener = new Listener(server, options, identity);
  const gate = new Gate(listener, authenticate);
  const calls = new Calls(service, limits, gate);
  const health = new Health();
  server.addService(
    { ...methods },
    {
      infer: (call: Stream) => calls.infer(call),
      inferOnce: (call: Unary<InferRequest, InferResponse>, reply: sendUnaryData<InferResponse>) =>
        void calls.inferOnce(call, reply),
      getBundle: (call: Unary<BundleRequest, BundleInfo>, reply: sendUnaryData<BundleInfo>) =>
        void calls.getBundle(call, reply),
      fetchFile: (call: Download) => void calls.fetchFile(call),
    },
  );
  server.addService(healthMethods, { ...health.handlers });
  if (oip) addOpenInference(server, { service, limits, gate, health, ...oip });
  if (reflection) addReflection(server, gate, { openInference: oip !== undefined });
  const port = await listener.listen(host, wanted);
  return {
    address: listen.replace(/\d+$/, String(port)),
    port,
    health: { set: (name, now) => health.set(name, now) },
    get connections() {
      return listener.connections;
    },
    get certificateExpires() {
      return identity?.expires;
    },
    drain: (graceMs) => {
      health.end();
      return listener.drain('the cloud is shutting down', graceMs);
    },
    close: () => listener.close(),
  };
}

type Stream = ServerDuplexStream<ClientMessage, ServerMessage>;
type Unary<Q, S> = ServerUnaryCall<Q | Unreadable, S>;
type Download = ServerWritableStream<FileRequest | Unreadable, Uint8Array>;

/** Carries calls between grpc-js and the service. */
class Calls {
  readonly #service: InferenceService;
  readonly #limits: Limits;
  readonly #gate: Gate;
  #downloads = 0;

  constructor(service: InferenceService, limits: Limits, gate: Gate) {
    this.#service = service;
    this.#limits = limits;
    this.#gate = gate;
  }

  infer(call: Stream): void {
    try {
      const { origin, connection } = this.#gate.admit(call);
      const stream = new ServerStream(this.#service, this.#limits, origin, {
        send: (message, taken) => call.write(message, taken),
        pause: () => call.pause(),
        resume: () => call.resume(),
        end: () => call.end(),
        fail: (error) => call.emit('error', toStatus(error)),
      });
      connection.streams.add(stream);
      call.on('data', (message: ClientMessage) => stream.receive(message));
      call.on('end', () => stream.clientEnded());
      // grpc-js says so at the end of every call, however it ended.
      call.on('cancelled', () => {
        connection.streams.delete(stream);
        stream.gone();
      });
      if (connection.leaving !== undefined) stream.drain(connection.leaving);
    } catch (cause) {
      call.emit('error', toStatus(TransportError.from(cause)));
    }
  }

  /** An error outcome becomes a status, for the proxies and dashboards that count those. */
  async inferOnce(
    call: Unary<InferRequest, InferResponse>,
    reply: sendUnaryData<InferResponse>,
  ): Promise<void> {
    try {
      const { origin } = this.#gate.admit(call);
      const request = readable(call.request);
      const context = new RequestContext(origin, request);
      call.on('cancelled', () => context.abort(new TransportError('cancelled', 'the client is gone')));
      const response = await answer(this.#service, this.#limits, request, context);
      if (response.error) reply(toStatus(response.error));
      else reply(null, response);
    } catch (cause) {
      reply(toStatus(TransportError.from(cause)));
    }
  }

  async getBundle(call: Unary<BundleRequest, BundleInfo>, reply: sendUnaryData<BundleInfo>): Promise<void> {
    try {
      const { origin } = this.#gate.admit(call);
      const { name } = readable(call.request);
      this.#beginDownload(call);
      reply(null, await this.#service.getBundle(name, origin.caller));
    } catch (cause) {
      reply(toStatus(TransportError.from(cause)));
    }
  }

  async fetchFile(call: Download): Promise<void> {
    try {
      const { origin } = this.#gate.admit(call);
      const { bundle, file, offset } = readable(call.request);
      this.#beginDownload(call);
      // Without this, a write to a client that is gone would wait for ever.
      const gone = new Promise<void>((resolve) => call.on('cancelled', () => resolve()));
      for await (const data of this.#service.fetchFile(bundle, file, offset, origin.caller)) {
        for (let at = 0; at < data.length; at += chunkBytes) {
          const chunk = data.subarray(at, at + chunkBytes);
          await Promise.race([gone, new Promise<void>((resolve) => call.write(chunk, () => resolve()))]);
          if (call.cancelled) return;
        }
      }
      call.end();
    } catch (cause) {
      call.emit('error', toStatus(TransportError.from(cause)));
    }
  }

  /** @throws TransportError 'overloaded' */
  #beginDownload(call: { on(event: 'cancelled', ended: () => void): unknown }): void {
    if (this.#downloads >= maxDownloads) {
      const message = `${maxDownloads} downloads are under way: try again later`;
      throw new TransportError('overloaded', message, { retryAfterMs: 1000 });
    }
    this.#downloads++;
    call.on('cancelled', () => this.#downloads--);
  }
}

/** @throws TransportError 'bad-request' */
function readable<Q extends object>(request: Q | Unreadable): Q {
  if ('kind' in request)
    throw new TransportError('bad-request', 'the cloud got a message that cannot be read');
  return request;
}
