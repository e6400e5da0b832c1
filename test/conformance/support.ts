import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { chooseProtocol, TransportError } from '@raccoon/transport';
import type {
  BundleInfo,
  Caller,
  CancelSignal,
  Hello,
  InferContext,
  InferenceService,
  InferRequest,
  InferResponse,
  InferStream,
  Limits,
  ServiceWelcome,
  Transport,
} from '@raccoon/transport';
import { serveMemory } from '@raccoon/transport/memory';
import { connectFetch } from '@raccoon/transport/fetch';
import { connectGrpc, serveGrpc, serveHttp } from '@raccoon/transport/node';

export const hello: Hello = { protocolMin: 1, protocolMax: 1, codecIds: ['0123456789ab'], client: 'test/1' };

/** A request that reached the service, and the way to answer it. */
export interface Call {
  readonly request: InferRequest;
  readonly context: InferContext;
  readonly answer: (response: InferResponse) => void;
}

/** A service whose answers the test gives by hand. */
export class ManualService implements InferenceService {
  readonly calls: Call[] = [];
  readonly file: Uint8Array = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251);
  filesOpen = 0;
  /** Who asked, by method. */
  readonly callers: Record<string, Caller> = {};
  #arrived: () => void = () => {};

  hello(said: Hello, caller: Caller): ServiceWelcome {
    this.callers['hello'] = caller;
    const codecIds = said.codecIds.filter((id) => hello.codecIds.includes(id));
    if (codecIds.length === 0)
      throw new TransportError('unknown-codec', `no tables for ${said.codecIds.join(', ')}`);
    return { protocol: chooseProtocol(said), codecIds, bundle: 'test', bundleVersion: '1.2.3' };
  }

  infer(request: InferRequest, context: InferContext): Promise<InferResponse> {
    return new Promise((answer) => {
      this.calls.push({ request, context, answer });
      this.#arrived();
    });
  }

  getBundle(name: string, caller: Caller): BundleInfo | Promise<BundleInfo> {
    this.callers['getBundle'] = caller;
    if (name !== '' && name !== 'test') throw new TransportError('not-found', `no bundle ${name}`);
    return { name: 'test', version: '1.2.3', manifest: new TextEncoder().encode('{"name": "test"}') };
  }

  async *fetchFile(bundle: string, file: string, offset: number, caller: Caller): AsyncGenerator<Uint8Array> {
    this.callers['fetchFile'] = caller;
    if (file !== 'tables.bin') throw new TransportError('not-found', `no file ${file} in ${bundle}`);
    this.filesOpen++;
    try {
      for (let at = offset; at < this.file.length; at += 150_000) yield this.file.slice(at, at + 150_000);
    } finally {
      this.filesOpen--;
    }
  }

  /** The call with this request id, once it is there. */
  async call(id: number): Promise<Call> {
    for (;;) {
      const call = this.calls.find(({ request }) => request.id === id);
      if (call) return call;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }
}

/** A good answer whose first class tells which request it is for. */
export function good(id: number): InferResponse {
  const top = [
    { index: id, probability: 0.75, logit: 2.5 },
    { index: 0, probability: 0.25, logit: 1 },
  ];
  return { id, result: { top, margin: 0.5 }, queueMs: 1, decodeMs: 2, inferMs: 3, bundleVersion: '1.2.3' };
}

export const payload = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

/** Reads one response. */
export async function read(stream: InferStream): Promise<InferResponse> {
  const next = await stream.responses[Symbol.asyncIterator]().next();
  if (next.done) throw new Error('the stream has ended');
  return next.value;
}

/** Reads to the end. */
export async function readAll(stream: InferStream): Promise<InferResponse[]> {
  const all: InferResponse[] = [];
  for await (const response of stream.responses) all.push(response);
  return all;
}

/** Resolves when nothing that is under way can still change anything: for "and no more came". */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
}

export async function aborted(signal: CancelSignal): Promise<void> {
  if (!signal.aborted)
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
}

/** A cloud, by whatever carrier. */
export interface Cloud {
  connect(): Transport;
  drain(graceMs: number): Promise<void>;
  /** Breaks every link without a word. */
  cut(): void;
  stop(): Promise<void>;
}

export interface Carrier {
  readonly name: string;
  readonly start: (service: InferenceService, limits?: Partial<Limits>) => Promise<Cloud>;
}

/** Those that carry a stream as one: a cloud can say something that nobody has asked for. */
export const carriers: readonly Carrier[] = [
  {
    name: 'memory',
    async start(service, limits) {
      const server = serveMemory(service, limits);
      return {
        connect: () => server.connect(),
        drain: (graceMs) => server.drain(graceMs),
        cut: () => server.close(),
        stop: async () => server.close(),
      };
    },
  },
  {
    name: 'grpc',
    async start(service, limits) {
      const server = await serveGrpc(service, { listen: '127.0.0.1:0', ...limits });
      const proxy = await startProxy(server.port);
      const transports: Transport[] = [];
      return {
        connect() {
          const transport = connectGrpc(`127.0.0.1:${proxy.port}`);
          transports.push(transport);
          return transport;
        },
        async drain(graceMs) {
          const drained = server.drain(graceMs);
          proxy.refuse();
          await drained;
        },
        cut: () => proxy.close(),
        async stop() {
          for (const transport of transports) await transport.close();
          proxy.close();
          await server.drain(0);
        },
      };
    },
  },
];

/** A call for each request, as browsers do: a cloud speaks when it is spoken to. */
export const fetchCarrier: Carrier = {
  name: 'fetch',
  async start(service, limits) {
    const server = await serveHttp(service, { listen: '127.0.0.1:0', ...limits });
    const proxy = await startProxy(server.port);
    const transports: Transport[] = [];
    return {
      connect() {
        const transport = connectFetch(`http://127.0.0.1:${proxy.port}`);
        transports.push(transport);
        return transport;
      },
      async drain(graceMs) {
        const drained = server.drain(graceMs);
        proxy.refuse();
        await drained;
      },
      cut: () => proxy.close(),
      async stop() {
        for (const transport of transports) await transport.close();
        proxy.close();
        server.close();
      },
    };
  },
};

export interface Proxy {
  readonly port: number;
  /** Bytes from clients and from the server. */
  readonly bytes: { up: number; down: number };
  /** Takes no new connection. */
  refuse(): void;
  /** Destroys every connection. */
  close(): void;
}

/** A TCP proxy in front of a port of this machine. */
export async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const bytes = { up: 0, down: 0 };
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    for (const [from, to, way] of [
      [client, upstream, 'up'],
      [upstream, client, 'down'],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (data) => {
        bytes[way] += data.length;
        to.write(data);
      });
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: portOf(server.address()),
    bytes,
    refuse: () => server.close(),
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

export function portOf(address: AddressInfo | string | null): number {
  if (typeof address === 'string' || address === null) throw new Error('not a TCP server');
  return address.port;
}
