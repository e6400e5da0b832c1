import { TransportError } from './errors.ts';
import type { InferRequest } from './messages.ts';
import { MAX_SLICES } from './protocol.ts';
import type { LaterSlices } from './transport.ts';

/** Hands the later slices of one image from its stream, as they come, to the service, as it asks for them. */
export class SliceFeed implements LaterSlices {
  readonly #id: number;
  readonly #maxBytes: number;
  readonly #ask: (margin: number) => void;
  readonly #arrived: InferRequest[] = [];
  #bytes: number;
  #next = 1; // index of the slice that must come
  #complete = false;
  #broken: TransportError | undefined;
  #waiting: { resolve(slice: InferRequest): void; reject(error: TransportError): void } | undefined;

  /**
   * @param maxBytes of all slices together
   * @param ask tells the client to send the next slice, and what the margin is so far
   */
  constructor({ id, payload }: InferRequest, maxBytes: number, ask: (margin: number) => void) {
    this.#id = id;
    this.#maxBytes = maxBytes;
    this.#ask = ask;
    this.#bytes = payload.length;
  }

  next(margin?: number): Promise<InferRequest> {
    const [slice] = this.#arrived.splice(0, 1);
    if (slice) return Promise.resolve(slice);
    if (this.#broken) return Promise.reject(this.#broken);
    if (margin !== undefined) this.#ask(margin);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** From the stream. A slice that breaks the rules is not kept, and the service learns of it when it asks for it. */
  push(slice: InferRequest): void {
    if (this.#broken) return;
    const problem = this.#problem(slice);
    if (problem) {
      this.fail(problem);
      return;
    }
    this.#bytes += slice.payload.length;
    this.#next++;
    this.#complete = !slice.moreSlices;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) waiting.resolve(slice);
    else this.#arrived.push(slice);
  }

  /** The client sends no more, so what is missing never comes. */
  end(): void {
    if (this.#complete) return;
    const message = `the client ended its stream before slice ${this.#next} of request ${this.#id}`;
    this.fail(badRequest(message));
  }

  fail(error: TransportError): void {
    this.#broken ??= error;
    this.#waiting?.reject(this.#broken);
    this.#waiting = undefined;
  }

  #problem({ sliceIndex, payload, moreSlices }: InferRequest): TransportError | undefined {
    const slice = `slice ${sliceIndex} of request ${this.#id}`;
    if (this.#complete) return badRequest(`${slice}, which had its last slice before`);
    if (sliceIndex !== this.#next) {
      return badRequest(`${slice} where slice ${this.#next} must be: send them in order`);
    }
    if (moreSlices && this.#next + 1 >= MAX_SLICES) {
      return badRequest(`${slice} is not the last, and no image has more than ${MAX_SLICES}`);
    }
    return checkBytes(this.#bytes + payload.length, this.#maxBytes);
  }
}

function badRequest(message: string): TransportError {
  return new TransportError('bad-request', message);
}

/** What is wrong with so many bytes of slices; both ends say the same. */
export function checkBytes(bytes: number, maxBytes: number): TransportError | undefined {
  if (bytes <= maxBytes) return undefined;
  const message = `the slices have ${bytes} bytes, the cloud takes ${maxBytes}: send fewer bits per pixel`;
  return new TransportError('payload-too-large', message);
}
