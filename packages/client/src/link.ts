import {
  TransportError,
  type Hello,
  type InferRequest,
  type InferResponse,
  type InferStream,
  type Transport,
} from '@raccoon/transport';

interface Waiting {
  resolve(response: InferResponse): void;
  reject(error: TransportError): void;
}

/** One stream to the cloud: gives requests their ids and answers their callers. Opened again after it broke. */
export class Link {
  readonly #transport: Transport;
  readonly #hello: Hello;
  readonly #waiting = new Map<number, Waiting>();
  #stream: Promise<InferStream> | undefined;
  #lastId = 0;

  constructor(transport: Transport, hello: Hello) {
    this.#transport = transport;
    this.#hello = hello;
  }

  /** Opens the stream, or returns the one that is open. @throws TransportError */
  open(): Promise<InferStream> {
    this.#stream ??= this.#open();
    return this.#stream;
  }

  /** Sends one request; resolves with its answer. @throws TransportError when the link breaks first */
  async request(request: Omit<InferRequest, 'id'>): Promise<InferResponse> {
    const stream = await this.open();
    this.#lastId = (this.#lastId % 0xffff_ffff) + 1;
    const id = this.#lastId;
    const answer = new Promise<InferResponse>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    // a link that breaks while send() waits rejects `answer`, too: that one is awaited last
    answer.catch(() => undefined);
    try {
      await stream.send({ ...request, id });
    } catch (error) {
      this.#waiting.delete(id);
      throw TransportError.from(error);
    }
    return answer;
  }

  async close(): Promise<void> {
    const stream = await this.#stream?.catch(() => undefined);
    stream?.end();
    await this.#transport.close();
  }

  async #open(): Promise<InferStream> {
    try {
      const stream = await this.#transport.openStream(this.#hello);
      void this.#read(stream);
      return stream;
    } catch (error) {
      this.#stream = undefined;
      throw error;
    }
  }

  async #read(stream: InferStream): Promise<void> {
    let reason = new TransportError('unavailable', 'the cloud ended the stream');
    try {
      for await (const response of stream.responses) {
        this.#waiting.get(response.id)?.resolve(response);
        this.#waiting.delete(response.id);
      }
    } catch (error) {
      reason = TransportError.from(error);
    }
    this.#stream = undefined;
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    this.#waiting.clear();
  }
}
