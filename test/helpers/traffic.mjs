import { connect } from '@raccoon/client';

/** Requests through the client, until `stop`: what came of them. */
export class Traffic {
  /** Outcomes by code. */
  codes = {};
  /** Requests that went once more, by why. */
  resent = {};
  /** Every other message that came with a failure. */
  failures = new Set();
  /** Bundle versions that answered. */
  versions = {};
  #client;
  #stop = new AbortController();
  #done;

  /**
   * @param addresses of clouds, which share the requests
   * @param check called with every answer and the index of its payload; throws what is wrong with it
   */
  static async start(addresses, { bundle, payloads, concurrency, reconnect, check = () => undefined }) {
    const client = await connect({ cloud: addresses, bundle, topK: 5, reconnect });
    return new Traffic(client, payloads.map(encoded), concurrency, check);
  }

  constructor(client, images, concurrency, check) {
    this.#client = client;
    client.events.on('resent', ({ code }) => count(this.resent, code));
    this.#done = Promise.all(
      Array.from({ length: concurrency }, async (_, first) => {
        for (let i = first; !this.#stop.signal.aborted; i += concurrency) {
          const at = i % images.length;
          this.#add(await client.send('', images[at]).catch((error) => error), at, check);
        }
      }),
    );
  }

  get answered() {
    return this.codes.ok ?? 0;
  }

  get failed() {
    return Object.values(this.codes).reduce((a, b) => a + b, 0) - this.answered;
  }

  /** No more requests; resolves when all have an outcome. */
  async stop() {
    this.#stop.abort();
    await this.#done;
    await this.#client.close();
  }

  #add(outcome, at, check) {
    let code = 'ok';
    try {
      if (outcome instanceof Error) {
        code = outcome.code;
        this.failures.add(`${code}: ${outcome.message}`);
      } else check(outcome, at);
    } catch (error) {
      code = 'wrong';
      this.failures.add(`wrong: ${error.message}`);
    }
    count(this.codes, code);
    if (code === 'ok') count(this.versions, outcome.bundleVersion);
  }
}

/** A bitstream as if an edge here had made it. */
function encoded(payload) {
  const nothing = { bpp: 0, imageMs: 0, encoderMs: 0, codecMs: 0 };
  return { slices: [payload], symbols: new Int16Array(), point: 0, bytes: payload.length, ...nothing };
}

function count(counts, key) {
  counts[key] = (counts[key] ?? 0) + 1;
}
