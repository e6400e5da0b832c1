import { ClientStream } from './client-stream.ts';
import { TransportError } from './errors.ts';
import type { BundleInfo, Hello, InferRequest, InferResponse } from './messages.ts';
import { limitsFrom } from './protocol.ts';
import type { Limits } from './protocol.ts';
import { answer, RequestContext, ServerStream } from './server-stream.ts';
import type { CallOptions, InferenceService, InferStream, Origin, Transport } from './transport.ts';

/** A cloud in this process: all that `serveGrpc` does, without sockets and bytes. For tests. */
export interface MemoryServer {
  /** A client's end. */
  connect(): Transport;
  /** Tells streams to go away, lets what is in flight finish for up to `graceMs`, then closes. */
  drain(graceMs: number): Promise<void>;
  /** Dies at once: every link breaks. */
  close(): void;
}

export function serveMemory(service: InferenceService, limits?: Partial<Limits>): MemoryServer {
  return new Server(service, limitsFrom(limits));
}

const address = 'memory';
const origin: Origin = { peer: address, caller: { name: address } };
const broke = (): TransportError => new TransportError('unavailable', `the link to ${address} broke`);

/** Something under way between a client and the server. */
interface Call {
  drain(): void;
  breakWith(error: TransportError): void;
}

class Server implements MemoryServer {
  readonly service: InferenceService;
  readonly limits: Limits;
  readonly #calls = new Set<Call>();
  #listening = true;
  #onIdle = (): void => {};

  constructor(service: InferenceService, limits: Limits) {
    this.service = service;
    this.limits = limits;
  }

  connect(): Transport {
    return new Client(this);
  }

  /** @throws TransportError 'unavailable' after `drain` or `close` */
  assertListening(): void {
    if (!this.#listening) throw TransportError.from({ code: 'ECONNREFUSED' }, address);
  }

  add(call: Call): void {
    this.#calls.add(call);
  }

  delete(call: Call): void {
    this.#calls.delete(call);
    if (this.#calls.size === 0) this.#onIdle();
  }

  async drain(graceMs: number): Promise<void> {
    this.#listening = false;
    for (const call of this.#calls) call.drain();
    if (this.#calls.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        this.#onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.close();
  }

  close(): void {
    this.#listening = false;
    for (const call of this.#calls) call.breakWith(broke());
  }
}

class Client implements Transport {
  readonly #server: Server;
  readonly #calls = new Set<Call>();
  #closed = false;

  constructor(server: Server) {
    this.#server = server;
  }

  async openStream(hello: Hello, { signal }: CallOptions = {}): Promise<InferStream> {
    this.#assertOpen();
    const call = new StreamCall(this.#server, () => this.#done(call));
    this.#begin(call);
    return call.client.open(hello, signal);
  }

  async inferOnce(request: InferRequest, { signal }: CallOptions = {}): Promise<InferResponse> {
    this.#assertOpen();
    const { service, limits } = this.#server;
    const context = new RequestContext(origin, request);
    return new Promise((resolve, reject) => {
      const call: Call = {
        drain: () => {},
        breakWith: (error) => {
          context.abort(error);
          finish();
          reject(error);
        },
      };
      const abort = (): void => {
        if (signal) call.breakWith(TransportError.cancelled(signal));
      };
      const finish = (): void => {
        signal?.removeEventListener('abort', abort);
        this.#done(call);
      };
      this.#begin(call);
      if (signal?.aborted) return abort();
      signal?.addEventListener('abort', abort);
      void answer(service, limits, request, context).then((response) => {
        finish();
        resolve(response);
      });
    });
  }

  async getBundle(name = ''): Promise<BundleInfo> {
    this.#assertOpen();
    try {
      return await this.#server.service.getBundle(name, origin.caller);
    } catch (cause) {
      throw TransportError.from(cause);
    }
  }

  async *fetchFile(bundle: string, file: string, offset = 0): AsyncGenerator<Uint8Array, void> {
    try {
      this.#assertOpen();
      for await (const chunk of this.#server.service.fetchFile(bundle, file, offset, origin.caller)) {
        this.#assertOpen();
        yield chunk;
      }
    } catch (cause) {
      throw TransportError.from(cause);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls)
      call.breakWith(new TransportError('cancelled', 'the transport was closed'));
  }

  #assertOpen(): void {
    if (this.#closed) throw new TransportError('cancelled', 'the transport was closed');
    this.#server.assertListening();
  }

  #begin(call: Call): void {
    this.#calls.add(call);
    this.#server.add(call);
  }

  #done(call: Call): void {
    this.#calls.delete(call);
    this.#server.delete(call);
  }
}

/** Both halves of a stream and the two ways between them. */
class StreamCall implements Call {
  readonly client: ClientStream;
  readonly #server: ServerStream;
  readonly #done: () => void;

  constructor({ service, limits }: Server, done: () => void) {
    const toServer = new Mailbox();
    const toClient = new Mailbox();
    this.#done = done;
    const server = new ServerStream(service, limits, origin, {
      send: (message, taken) => toClient.post(() => client.receive(message), taken),
      pause: () => toServer.pause(),
      resume: () => toServer.resume(),
      end: () => toClient.post(() => client.ended(), done),
      fail: (error) => toClient.post(() => client.broken(error), done),
    });
    const client = new ClientStream(address, () => ({
      send: (message, taken) => toServer.post(() => server.receive(message), taken),
      end: () => toServer.post(() => server.clientEnded()),
      abort: () => {
        server.gone();
        done();
      },
    }));
    this.client = client;
    this.#server = server;
  }

  drain(): void {
    this.#server.drain('the cloud is shutting down');
  }

  breakWith(error: TransportError): void {
    this.#server.gone();
    this.client.broken(error);
    this.#done();
  }
}

interface Letter {
  readonly deliver: () => void;
  readonly taken: () => void;
}

/** Delivers in order and never within `post`, as a wire would. */
class Mailbox {
  readonly #letters: Letter[] = [];
  #paused = false;
  #scheduled = false;

  post(deliver: () => void, taken: () => void = () => {}): void {
    this.#letters.push({ deliver, taken });
    this.#schedule();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#paused || this.#letters.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      const letter = this.#paused ? undefined : this.#letters.shift();
      letter?.deliver();
      letter?.taken();
      this.#schedule();
    });
  }
}
