import type { Edge, ImageInput } from '@raccoon/edge';
import { TransportError } from '@raccoon/transport';
import type { Outcome } from './classification.ts';
import type { Classifier } from './classifier.ts';

export type Images = Iterable<ImageInput> | AsyncIterable<ImageInput>;

/** Images before the encoder has decided on them: one in it, and the next, whose photo is decoded meanwhile. */
const AHEAD = 2;

const nothing = (): void => undefined;

/**
 * Classifies many: one is prepared while another is encoded and up to `maxInFlight` are on their way; outcomes come as they
 * are ready. An image is taken from its source when there is room for it, and its time counts from then.
 * @throws TransportError 'cancelled' when `signal` is aborted; what the source throws, after what came before it
 */
export async function* classifyAll(
  images: Images,
  edge: Edge,
  classifier: Classifier,
  maxInFlight: number,
  signal?: AbortSignal,
): AsyncGenerator<Outcome> {
  const source = Symbol.asyncIterator in images ? images[Symbol.asyncIterator]() : images[Symbol.iterator]();
  const ready: Outcome[] = [];
  const running = new Set<AbortController>();
  let stopped = false;
  let ahead = 0;
  let taken = 0;
  let next: Promise<void> | undefined; // under way from the source
  let ended: { error?: unknown } | undefined;
  let wake = nothing;

  function start(image: ImageInput): void {
    const own = new AbortController();
    const task = { image, index: taken++, since: performance.now(), signal: own.signal };
    running.add(own);
    ahead++;
    const decided = (): void => {
      ahead--;
      wake();
    };
    void classifier
      .classify(task, edge.prepare(image), decided)
      .catch((error: unknown) => ({ image, index: task.index, error: error as Error }))
      .then((outcome) => {
        running.delete(own);
        ready.push(outcome);
        wake();
      });
  }

  async function take(): Promise<void> {
    try {
      const result = await source.next();
      if (result.done) ended = {};
      else if (!stopped) start(result.value);
    } catch (error) {
      ended = { error };
    }
    next = undefined;
    wake();
  }

  const aborted = (): void => wake();
  signal?.addEventListener('abort', aborted);
  try {
    for (;;) {
      if (signal?.aborted) throw TransportError.cancelled(signal);
      const outcome = ready.shift();
      if (outcome) {
        yield outcome;
        continue;
      }
      if (ended && running.size === 0) break;
      if (!ended && !next && ahead < AHEAD && running.size < maxInFlight) next = take();
      const changed = new Promise<void>((resolve) => (wake = resolve));
      await changed;
    }
    if ('error' in ended) throw ended.error;
  } finally {
    stopped = true;
    signal?.removeEventListener('abort', aborted);
    for (const own of running) own.abort(signal?.reason);
    // A source that is waiting for an image, a camera's, ends when its image comes; nobody waits for that.
    const left = Promise.resolve(ended ? undefined : source.return?.());
    if (next) left.catch(() => undefined);
    else await left;
  }
}
