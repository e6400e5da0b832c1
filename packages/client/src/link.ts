import {
  TransportError,
  type Hello,
  type InferRequest,
  type InferResponse,
  type InferStream,
  type Transport,
} from '@raccoon/transport';

type Request = Omit<InferRequest, 'id'>;

interface Waiting {
  resolve(response: InferResponse): void;
  reject(error: TransportError): void;
}

/** The way to the cloud: one stream, opened again when it broke or the cloud sent it away. */
export class Link {
  readonly #transport: Transport;
  readonly #hello: Hello;
  #line: Promise<Line> | undefined;

  constructor(transport: Transport, hello: Hello) {
    this.#transport = transport;
    this.#hello = hello;
  }

  /** Opens the stream, unless one is open. @throws TransportError */
  async open(): Promise<void> {
    await this.#open();
  }

  /** Sends one request; resolves with its answer. @throws TransportError when the link breaks first */
  async request(request: Request): Promise<InferResponse> {
    // A cloud that leaves, or a connection that grew old, has not begun with it: once more, on a stream of its own.
    try {
      const response = await this.#ask(request);
      if (response.error?.code !== 'draining') return response;
    } catch (error) {
      if (!isDraining(error)) throw error;
    }
    return this.#ask(request);
  }

  async close(): Promise<void> {
    const line = await this.#line?.catch(() => undefined);
    line?.end();
    await this.#transport.close();
  }

  async #ask(request: Request): Promise<InferResponse> {
    const line = await this.#open();
    return line.ask(request);
  }

  #open(): Promise<Line> {
    if (!this.#line) {
      const forget = (): void => {
        if (this.#line === line) this.#line = undefined;
      };
      const line = this.#transport.openStream(this.#hello).then((stream) => new Line(stream, forget));
      line.catch(forget);
      this.#line = line;
    }
    return this.#line;
  }
}

/** One stream: gives requests their ids and answers their callers. */
class Line {
  readonly #stream: InferStream;
  readonly #leave: () => void;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  /** `leave` is called when the stream takes no more requests; those under way are answered still. */
  constructor(stream: InferStream, leave: () => void) {
    this.#stream = stream;
    this.#leave = leave;
    void this.#read();
  }

  async ask(request: Request): Promise<InferResponse> {
    this.#lastId = (this.#lastId % 0xffff_ffff) + 1;
    const id = this.#lastId;
    const answer = new Promise<InferResponse>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    // a link that breaks while send() waits rejects `answer`, too: that one is awaited last
    answer.catch(() => undefined);
    try {
      await this.#stream.send({ ...request, id });
    } catch (error) {
      this.#waiting.delete(id);
      if (isDraining(error)) this.#leave();
      throw TransportError.from(error);
    }
    return answer;
  }

  end(): void {
    this.#stream.end();
  }

  async #read(): Promise<void> {
    let reason = new TransportError('unavailable', 'the cloud ended the stream');
    try {
      for await (const response of this.#stream.responses) {
        if (response.error?.code === 'draining') this.#leave();
        this.#waiting.get(response.id)?.resolve(response);
        this.#waiting.delete(response.id);
      }
    } catch (error) {
      reason = TransportError.from(error);
    }
    this.#leave();
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    this.#waiting.clear();
  }
}

function isDraining(error: unknown): boolean {
  return error instanceof TransportError && error.code === 'draining';
}
