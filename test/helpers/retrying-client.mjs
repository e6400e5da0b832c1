import { setTimeout as sleep } from 'node:timers/promises';
import { connectGrpc } from '@raccoon/transport/node';
import { codeOf, Lane, mayRetry } from './lane.mjs';

/**
 * A client of several clouds that loses nothing: a request that one of them refuses with a code that may be retried, or does
 * not answer because the stream broke, goes to the next one, under the number that its caller knows.
 */
export class RetryingClient {
  #instances;
  #first = 0;
  #attempts;

  /** @param attempts of one request, at most */
  constructor(addresses, { attempts = 2 } = {}) {
    this.#instances = addresses.map((address) => new Instance(address));
    this.#attempts = attempts;
  }

  /** The outcome of the last attempt, and the codes of those before: { outcome, refusals }. Never rejects. */
  async ask(payload) {
    const refusals = [];
    for (let at = this.#first; ; at = this.#after(at)) {
      const outcome = await this.#instances[at].ask(payload).catch((error) => error);
      const code = codeOf(outcome);
      if (!mayRetry(code) || refusals.length + 1 === this.#attempts) return { outcome, refusals };
      refusals.push(code);
      if (this.#first === at) this.#first = this.#after(at); // the others begin there, too
      if (refusals.length >= this.#instances.length) await sleep(50);
    }
  }

  async close() {
    await Promise.all(this.#instances.map((instance) => instance.close()));
  }

  #after(at) {
    return (at + 1) % this.#instances.length;
  }
}

/** A cloud at an address: its stream is opened when it is needed, and again when it refuses or broke. */
class Instance {
  #address;
  #link;
  #old = new Set();

  constructor(address) {
    this.#address = address;
  }

  async ask(payload) {
    const link = (this.#link ??= this.#open());
    try {
      return await (await link.lane).ask(payload);
    } catch (error) {
      if (this.#link === link) this.#leave(link);
      throw error;
    }
  }

  async close() {
    if (this.#link) this.#leave(this.#link);
    await Promise.all(this.#old);
  }

  #open() {
    // a connection of its own: gRPC waits before it tries again where it was refused
    const transport = connectGrpc(this.#address);
    return { transport, lane: Lane.open(transport) };
  }

  /** No more requests; the connection ends after the last answer. */
  #leave({ transport, lane }) {
    this.#link = undefined;
    const closed = lane
      .then(
        (opened) => opened.end(),
        () => undefined,
      )
      .then(() => transport.close())
      .then(() => this.#old.delete(closed));
    this.#old.add(closed);
  }
}
