/** Images that come whether somebody takes them or not. */
export interface LiveImages<T> extends AsyncIterableIterator<T, undefined> {
  /** Images that nobody took in time. */
  readonly dropped: number;
  /** Ends it, also while `next` waits. */
  return(): Promise<IteratorResult<T, undefined>>;
}

/** The newest of what is pushed, for one reader: of more than `keep`, the oldest are dropped and counted. */
export class Latest<T> implements LiveImages<T> {
  readonly #keep: number;
  readonly #onEnd: () => void;
  readonly #items: T[] = [];
  #dropped = 0;
  #ended: { error?: unknown } | undefined;
  #wake = (): void => undefined;

  /** @param onEnd called once, when the reader leaves or `end` is called: nothing more is wanted */
  constructor(keep: number, onEnd: () => void = () => undefined) {
    if (!Number.isInteger(keep) || keep < 1)
      throw new RangeError(`keep must be a whole number of at least 1, not ${keep}`);
    this.#keep = keep;
    this.#onEnd = onEnd;
  }

  get dropped(): number {
    return this.#dropped;
  }

  push(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    if (this.#items.length > this.#keep) {
      this.#items.shift();
      this.#dropped++;
    }
    this.#wake();
  }

  /** No more; the reader hears `error` after what is there. */
  end(ended: { error?: unknown } = {}): void {
    if (this.#ended) return;
    this.#ended = ended;
    this.#onEnd();
    this.#wake();
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    while (this.#items.length === 0) {
      if (this.#ended) return this.#last(this.#ended);
      const changed = new Promise<void>((resolve) => (this.#wake = resolve));
      await changed;
    }
    return { done: false, value: this.#items.shift()! };
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#items.length = 0;
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #last(ended: { error?: unknown }): IteratorResult<T, undefined> {
    this.#ended = {}; // an error is heard once
    if ('error' in ended) throw ended.error;
    return { done: true, value: undefined };
  }
}

/**
 * The newest `keep` of a source that does not wait, such as a camera: it is read as fast as it gives.
 * @param onEnd as of `Latest`; the source's own `return` may wait for its next item
 */
export function latest<T>(
  source: AsyncIterable<T>,
  keep: number,
  onEnd: () => void = () => undefined,
): LiveImages<T> {
  const iterator = source[Symbol.asyncIterator]();
  const live = new Latest<T>(keep, () => {
    onEnd();
    void Promise.resolve(iterator.return?.()).catch(() => undefined);
  });
  void (async () => {
    try {
      for (let item = await iterator.next(); !item.done; item = await iterator.next()) live.push(item.value);
      live.end();
    } catch (error) {
      live.end({ error });
    }
  })();
  return live;
}
