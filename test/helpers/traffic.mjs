import { codeOf } from './lane.mjs';

/** Requests through a client that retries, until `stop`: what came of them. */
export class Traffic {
  /** Outcomes by code. */
  codes = {};
  /** Attempts that were refused and tried again, by code. */
  retried = {};
  /** Every other message that came with a failure. */
  failures = new Set();
  /** Bundle versions that answered. */
  versions = {};
  running = true;
  #done;

  /** @param check called with every answer and the index of its payload; throws what is wrong with it */
  constructor(client, payloads, concurrency, check = () => undefined) {
    this.#done = Promise.all(
      Array.from({ length: concurrency }, async (_, first) => {
        for (let i = first; this.running; i += concurrency) {
          const at = i % payloads.length;
          this.#add(await client.ask(payloads[at]), at, check);
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

  async stop() {
    this.running = false;
    await this.#done;
  }

  #add({ outcome, refusals }, at, check) {
    for (const code of refusals) count(this.retried, code);
    let code = codeOf(outcome);
    try {
      if (code === 'ok') check(outcome, at);
      else this.failures.add(`${code}: ${outcome.message ?? outcome.error.message}`);
    } catch (error) {
      code = 'wrong';
      this.failures.add(`wrong: ${error.message}`);
    }
    count(this.codes, code);
    if (code === 'ok') count(this.versions, outcome.bundleVersion);
  }
}

function count(counts, key) {
  counts[key] = (counts[key] ?? 0) + 1;
}
