import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { TransportError } from '../errors.ts';
import type { BundleInfo, ClientMessage, InferRequest, InferResponse, ServerMessage } from '../messages.ts';
import { limitsFrom } from '../protocol.ts';
import type { Limits } from '../protocol.ts';
import { answer, ServerStream } from '../server-stream.ts';
import type { InferenceService } from '../transport.ts';
import type { BundleRequest, FileRequest } from '../wire.ts';
import { methods } from './methods.ts';
import { toStatus } from './status.ts';

export interface GrpcServerOptions extends Partial<Limits> {
  /** host:port; port 0 takes a free one. */
  readonly listen: string;
}

export interface GrpcServer {
  /** host:port, with the port that was taken. */
  readonly address: string;
  readonly port: number;
  /** Stops listening, tells streams to go away, lets what is in flight finish for up to `graceMs`, then closes. */
  drain(graceMs: number): Promise<void>;
}

/** Room for a message's other fields, and for a Hello with a hundred codecs. */
const slackBytes = 1024;
/** Bytes of one FileChunk. */
const chunkBytes = 65_536;

/** @throws TransportError 'bad-request' for no address, 'unavailable' for one that cannot be listened on */
export async function serveGrpc(
  service: InferenceService,
  { listen, ...given }: GrpcServerOptions,
): Promise<GrpcServer> {
  if (!/.:\d+$/.test(listen))
    throw new TransportError('bad-request', `listen takes host:port, not "${listen}"`);
  const limits = limitsFrom(given);
  const streams = new Set<ServerStream>();
  const server = new Server({
    'grpc.max_receive_message_length': limits.maxPayloadBytes + slackBytes,
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.enable_channelz': 0, // it would grow with every call
  });
  server.addService(
    { ...methods },
    {
      infer: (call: Stream) => serveStream(service, limits, call, streams),
      inferOnce: (call: Unary<InferRequest, InferResponse>, reply: sendUnaryData<InferResponse>) => {
        void serveOnce(service, limits, call, reply);
      },
      getBundle: (call: Unary<BundleRequest, BundleInfo>, reply: sendUnaryData<BundleInfo>) => {
        void serveBundle(service, call, reply);
      },
      fetchFile: (call: Download) => void serveFile(service, call),
    },
  );
  const port = await bind(server, listen);
  const address = listen.replace(/\d+$/, String(port));
  const drain = (graceMs: number): Promise<void> => {
    for (const stream of streams) stream.drain();
    return shutdown(server, address, graceMs);
  };
  return { address, port, drain };
}

type Stream = ServerDuplexStream<ClientMessage, ServerMessage>;
type Unary<Q, S> = ServerUnaryCall<Q, S>;
type Download = ServerWritableStream<FileRequest, Uint8Array>;

function bind(server: Server, listen: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (cause, port) => {
      if (!cause) return resolve(port);
      const message = `cannot listen on ${listen}: ${cause.message} - is the port taken?`;
      reject(new TransportError('unavailable', message, { cause }));
    });
  });
}

/** A client that never ends its stream must not keep the server from ending: after the grace, by force. */
function shutdown(server: Server, address: string, graceMs: number): Promise<void> {
  // Not forceShutdown, which with channelz off (grpc-js 1.14.7) leaves the connections open.
  server.drain(address, graceMs);
  return new Promise((resolve) => {
    server.tryShutdown(() => resolve());
  });
}

function serveStream(
  service: InferenceService,
  limits: Limits,
  call: Stream,
  streams: Set<ServerStream>,
): void {
  const stream = new ServerStream(service, limits, call.getPeer(), {
    send: (message, taken) => call.write(message, taken),
    pause: () => call.pause(),
    resume: () => call.resume(),
    end: () => call.end(),
    fail: (error) => call.emit('error', toStatus(error)),
  });
  streams.add(stream);
  call.on('data', (message: ClientMessage) => stream.receive(message));
  call.on('end', () => stream.clientEnded());
  // grpc-js says so at the end of every call, however it ended.
  call.on('cancelled', () => {
    streams.delete(stream);
    stream.gone();
  });
}

/** An error outcome becomes a status, for the proxies and dashboards that count those. */
async function serveOnce(
  service: InferenceService,
  limits: Limits,
  call: Unary<InferRequest, InferResponse>,
  reply: sendUnaryData<InferResponse>,
): Promise<void> {
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort(new TransportError('cancelled', 'the client is gone')));
  const context = { signal: controller.signal, peer: call.getPeer() };
  const response = await answer(service, limits, call.request, context);
  if (response.error) reply(toStatus(response.error));
  else reply(null, response);
}

async function serveBundle(
  service: InferenceService,
  call: Unary<BundleRequest, BundleInfo>,
  reply: sendUnaryData<BundleInfo>,
): Promise<void> {
  try {
    reply(null, await service.getBundle(call.request.name));
  } catch (cause) {
    reply(toStatus(TransportError.from(cause)));
  }
}

async function serveFile(service: InferenceService, call: Download): Promise<void> {
  const { bundle, file, offset } = call.request;
  // Without this, a write to a client that is gone would wait for ever.
  const gone = new Promise<void>((resolve) => call.on('cancelled', () => resolve()));
  try {
    for await (const data of service.fetchFile(bundle, file, offset)) {
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
