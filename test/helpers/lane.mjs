import { errorTable, PROTOCOL_VERSION, TransportError } from '@raccoon/transport';
import { connectGrpc } from '@raccoon/transport/node';

/** One stream to a cloud, straight over the transport: numbers requests and gives every answer to who asked. */
export class Lane {
  #stream;
  #asked = new Map();
  #lastId = 0;
  #broken;
  #done;

  /** @param codecIds those of the bundle; empty: let the cloud judge every request */
  static async open(transport, codecIds = [], options = {}) {
    const hello = { protocolMin: PROTOCOL_VERSION, protocolMax: PROTOCOL_VERSION, codecIds, client: 'load' };
    return new Lane(await transport.openStream(hello, options));
  }

  constructor(stream) {
    this.#stream = stream;
    this.#done = this.#read();
  }

  get welcome() {
    return this.#stream.welcome;
  }

  /** The answer, an error of the request included. Rejects with a TransportError when the stream ends before it. */
  ask(payload, options) {
    return new Promise((resolve, reject) => {
      if (this.#broken) return reject(this.#broken);
      const id = ++this.#lastId;
      this.#asked.set(id, { resolve, reject });
      this.#stream.send({ id, payload, ...options }).catch((error) => {
        if (this.#asked.delete(id)) reject(error);
      });
    });
  }

  /** `ask` whose request is cancelled at once. */
  askAndCancel(payload) {
    const answer = this.ask(payload);
    this.#stream.cancel(this.#lastId);
    return answer;
  }

  /** No more requests; resolves after the last answer, or when the stream broke. */
  end() {
    this.#stream.end();
    return this.#done;
  }

  async #read() {
    try {
      for await (const response of this.#stream.responses) {
        const asked = this.#asked.get(response.id);
        this.#asked.delete(response.id);
        asked?.resolve(response);
      }
      this.#broken = new TransportError('unavailable', 'the stream has ended');
    } catch (error) {
      this.#broken = TransportError.from(error);
    }
    for (const { reject } of this.#asked.values()) reject(this.#broken);
    this.#asked.clear();
  }
}

/** `count` lanes over `connections` connections, and how to close them. */
export async function openLanes(address, count, { connections = 1, codecIds } = {}) {
  const transports = Array.from({ length: connections }, () => connectGrpc(address));
  const lanes = [];
  for (let i = 0; i < count; i++) lanes.push(await Lane.open(transports[i % connections], codecIds));
  return {
    lanes,
    close: async () => {
      await Promise.all(lanes.map((lane) => lane.end()));
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
}

/** A response's or a rejection's code. */
export function codeOf(outcome) {
  return outcome instanceof Error ? TransportError.from(outcome).code : (outcome.error?.code ?? 'ok');
}

/** Whether the same request may succeed elsewhere or later. */
export function mayRetry(code) {
  return errorTable[code]?.retry ?? false;
}
