import { createServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import { ServerCredentials, type ConnectionInjector, type Server } from '@grpc/grpc-js';
import { TransportError } from '../errors.ts';
import type { ServerStream } from '../server-stream.ts';
import type { ServerIdentity } from './tls.ts';

// grpc-js could listen by itself. But it tells nobody when a connection grows old, so that streams could be told to go
// away; it counts no connections, cannot end them at once while channelz is off, and drops what does not speak TLS
// without a word. So connections are taken here and handed to it one by one.

export interface ListenerLimits {
  /** Connections at a time; more are closed at once. Default 4096. */
  readonly maxConnections: number;
  /** ms until a connection is told to go away, 10 % more or less so that not all come back together; 0, the default: never. */
  readonly maxConnectionAgeMs: number;
  /** ms for what is in flight on a connection that grew old; default 60,000. */
  readonly maxConnectionAgeGraceMs: number;
}

/** ms until a connection must have said something, and until a TLS handshake must be done. */
const handshakeMs = 10_000;
/** First byte of a TLS record with a handshake message. */
const tlsHandshake = 0x16;
const clientHasNoTls =
  'this cloud takes TLS only: connect with tls (raccoon edge --tls-ca, or --tls for a public certificate)';

/** One connection, and the streams that came over it. */
export class Connection {
  readonly peer: string;
  /** Why only health is answered to it. */
  readonly refusal: string | undefined;
  readonly certificateName: string | undefined;
  readonly streams: Set<ServerStream> = new Set();
  /** Why it has to go, once it has to. */
  leaving: string | undefined;
  readonly #injector: ConnectionInjector;

  constructor(
    server: Server,
    socket: Socket,
    identity: { readonly refusal?: string; readonly certificateName?: string },
  ) {
    this.peer = peerOf(socket);
    this.refusal = identity.refusal;
    this.certificateName = identity.certificateName;
    // One injector for each, because an injector drains all of its connections together.
    this.#injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    socket.once('close', () => this.#injector.destroy());
    socket.on('error', () => {}); // 'close' follows
    this.#injector.injectConnection(socket);
  }

  /** No new call, what is in flight may finish for `graceMs`, then the connection breaks. */
  drain(reason: string, graceMs: number): void {
    this.leaving = reason;
    for (const stream of this.streams) stream.drain(reason);
    this.#injector.drain(graceMs);
  }
}

/** A listening address, and all the connections to it. */
export class Listener {
  readonly #server: Server;
  readonly #limits: ListenerLimits;
  readonly #tcp: TcpServer;
  readonly #tls: TlsServer | undefined;
  readonly #identity: ServerIdentity | undefined;
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Map<string, Connection>();

  constructor(server: Server, limits: Partial<ListenerLimits>, identity?: ServerIdentity) {
    this.#server = server;
    this.#limits = {
      maxConnections: limits.maxConnections ?? 4096,
      maxConnectionAgeMs: limits.maxConnectionAgeMs ?? 0,
      maxConnectionAgeGraceMs: limits.maxConnectionAgeGraceMs ?? 60_000,
    };
    this.#identity = identity;
    this.#tcp = createServer({ noDelay: true }, (socket) => this.#taken(socket));
    if (identity) {
      this.#tls = createTlsServer({
        ...identity.options,
        ALPNProtocols: ['h2'],
        handshakeTimeout: handshakeMs,
      });
      this.#tls.on('secureConnection', (socket) => this.#secured(socket, identity));
      this.#tls.on('tlsClientError', () => {}); // the client learned of it; its socket is closed
      identity.watch(this.#tls);
    }
  }

  /** @returns the port. @throws TransportError 'unavailable' */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const failed = (cause: Error): void => {
        this.#stop();
        const message = `cannot listen on ${host}:${port}: ${cause.message} - is the port taken?`;
        reject(new TransportError('unavailable', message, { cause }));
      };
      this.#tcp.once('error', failed);
      this.#tcp.listen({ host, port }, () => {
        this.#tcp.removeListener('error', failed);
        this.#tcp.on('error', () => {}); // a connection that could not be taken, for want of file descriptors, say
        // listen() was given a host and a port
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion
        resolve((this.#tcp.address() as AddressInfo).port);
      });
    });
  }

  /** That with this remote address and port. */
  connection(peer: string): Connection | undefined {
    return this.#connections.get(peer);
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Takes no new connection, tells all to go away, breaks what is left after `graceMs`. */
  async drain(reason: string, graceMs: number): Promise<void> {
    this.#stop();
    for (const socket of this.#sockets) {
      const connection = this.#connections.get(peerOf(socket));
      if (connection) connection.drain(reason, graceMs);
      else socket.destroy(); // it has not got as far as TLS
    }
    const timer = setTimeout(() => this.close(), graceMs);
    await Promise.all([...this.#sockets].map(closed));
    clearTimeout(timer);
  }

  /** Takes no new connection and breaks all. */
  close(): void {
    this.#stop();
    for (const socket of this.#sockets) socket.destroy();
  }

  #stop(): void {
    this.#tcp.close();
    this.#identity?.unwatch();
  }

  #taken(socket: Socket): void {
    if (this.#sockets.size >= this.#limits.maxConnections) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.on('error', () => {}); // 'close' follows
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#tls) this.#recognise(socket, this.#tls);
    else this.#open(socket, {});
  }

  /** A plain client is let in to be told what to do; health probes of Kubernetes cannot do better. */
  #recognise(socket: Socket, tls: TlsServer): void {
    firstByte(socket, (byte) => {
      if (byte === tlsHandshake) tls.emit('connection', socket);
      else this.#open(socket, { refusal: clientHasNoTls });
    });
  }

  #secured(socket: TLSSocket, identity: ServerIdentity): void {
    this.#open(socket, identity.clientOf(socket));
  }

  #open(socket: Socket, client: { readonly refusal?: string; readonly certificateName?: string }): void {
    const connection = new Connection(this.#server, socket, client);
    this.#connections.set(connection.peer, connection);
    const aged = this.#age(connection);
    socket.once('close', () => {
      clearTimeout(aged);
      this.#connections.delete(connection.peer);
    });
  }

  #age(connection: Connection): NodeJS.Timeout | undefined {
    const { maxConnectionAgeMs, maxConnectionAgeGraceMs } = this.#limits;
    if (maxConnectionAgeMs === 0) return undefined;
    const age = maxConnectionAgeMs * (0.9 + 0.2 * Math.random());
    return setTimeout(() => {
      connection.drain('the connection is as old as it may get: open another', maxConnectionAgeGraceMs);
    }, age).unref();
  }
}

/** As grpc-js names the peer of a call. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

/** The first byte, left in the socket. A socket that never says one is closed. */
function firstByte(socket: Socket, then: (byte: number) => void): void {
  socket.setTimeout(handshakeMs, () => socket.destroy());
  socket.once('readable', () => {
    const chunk: unknown = socket.read();
    if (!(chunk instanceof Buffer) || chunk.length === 0) {
      socket.destroy();
      return;
    }
    socket.setTimeout(0);
    socket.unshift(chunk);
    then(chunk[0]!);
  });
}

/** host:port, with brackets around an IPv6 host. @throws TransportError 'bad-request' */
export function parseListen(listen: string): { readonly host: string; readonly port: number } {
  const [, host, port] = /^(.+):(\d+)$/.exec(listen) ?? [];
  if (!host || !port || Number(port) > 65_535) {
    throw new TransportError('bad-request', `listen takes host:port, not "${listen}"`);
  }
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}
