import type { TransportError } from './errors.ts';
import type { InferResponse } from './messages.ts';

/** Responses that arrived, for one reader. */
export class ResponseQueue implements AsyncIterable<InferResponse> {
  readonly #items: InferResponse[] = [];
  #closed: { readonly error: TransportError | undefined } | undefined;
  #wake: () => void = () => {};

  push(response: InferResponse): void {
    this.#items.push(response);
    this.#wake();
  }

  /** After the last item: the end, or `error`. */
  close(error?: TransportError): void {
    this.#closed ??= { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<InferResponse, void> {
    for (;;) {
      // At most maxInFlight items for a reader that keeps up, so shifting is cheap.
      for (let item = this.#items.shift(); item; item = this.#items.shift()) yield item;
      if (this.#closed?.error) throw this.#closed.error;
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
