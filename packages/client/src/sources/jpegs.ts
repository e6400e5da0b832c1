import { ClientError } from '../errors.ts';

export interface JpegsOptions {
  /** Of one image, bytes; default 64 MB. */
  maxBytes?: number;
}

const FF = 0xff;
const SOI = 0xd8; // start of image
const EOI = 0xd9; // end of image
const SOS = 0xda; // start of scan
const TEM = 0x01;
const STUFFED = 0x00; // FF 00 in a scan is a byte FF of its data

/**
 * The images of a stream of JPEGs one after the other, as `cat *.jpg` or a camera's MJPEG gives. Read by its markers
 * (ITU-T T.81, annex B), so that a thumbnail inside a photo's metadata is no image. What stands between images is skipped.
 * An image whose successor begins before its end is given as far as it goes: its error is its own.
 * @throws ClientError `not-jpeg`, `cut-stream`, `too-large`
 */
export async function* jpegs(
  input: AsyncIterable<Uint8Array>,
  { maxBytes = 64e6 }: JpegsOptions = {},
): AsyncGenerator<Uint8Array> {
  const splitter = new Splitter(maxBytes);
  for await (const chunk of input) {
    splitter.push(chunk);
    for (let image = splitter.take(); image; image = splitter.take()) yield image;
  }
  splitter.end();
}

/**
 * Whatever comes down a pipe: JPEGs one after the other, or one photo of any kind.
 * @throws ClientError `cut-stream`, `too-large`
 */
export async function* piped(
  input: AsyncIterable<Uint8Array>,
  { maxBytes = 64e6 }: JpegsOptions = {},
): AsyncGenerator<Uint8Array> {
  const chunks = input[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let length = 0;
  let ended = false;
  while (length < 2 && !ended) {
    const chunk = await chunks.next();
    if (chunk.done) ended = true;
    else length += head[head.push(chunk.value) - 1]!.length;
  }
  const all: AsyncIterable<Uint8Array> = rest(head, chunks);
  const [first, second] = Buffer.concat(head);
  if (first === FF && second === SOI) {
    yield* jpegs(all, { maxBytes });
    return;
  }
  const parts: Uint8Array[] = [];
  for await (const part of all) {
    parts.push(part);
    length = parts.reduce((sum, { length: bytes }) => sum + bytes, 0);
    if (length > maxBytes) throw tooLarge(maxBytes);
  }
  yield new Uint8Array(Buffer.concat(parts));
}

async function* rest(
  head: readonly Uint8Array[],
  tail: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head;
  yield* { [Symbol.asyncIterator]: () => tail };
}

/** Finds where images begin and end in bytes that come in pieces. */
class Splitter {
  readonly #maxBytes: number;
  #buffer = new Uint8Array(1 << 16);
  #length = 0;
  /** The next byte to look at; beyond `#length` while a segment is skipped. */
  #at = 0;
  /** Before an image, among its segments, or in the data of a scan. */
  #state: 'between' | 'segments' | 'scan' = 'between';
  #images = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(chunk, this.#length);
    this.#length = length;
  }

  /** The next whole image, if it is there. */
  take(): Uint8Array | undefined {
    for (;;) {
      if (this.#state === 'between' && !this.#findStart()) return undefined;
      const state = this.#state;
      const end = state === 'segments' ? this.#readSegments() : this.#readScan();
      if (end !== undefined) return this.#cut(end);
      if (this.#state !== state) continue;
      if (this.#length > this.#maxBytes) throw tooLarge(this.#maxBytes);
      return undefined; // the rest is not here yet
    }
  }

  end(): void {
    if (this.#state !== 'between') {
      throw new ClientError(
        'cut-stream',
        `the stream of JPEGs ends within image ${this.#images + 1}, after ${this.#length} of its bytes: what writes it was cut off`,
      );
    }
    if (this.#images === 0) throw new ClientError('not-jpeg', 'there is no JPEG in the stream');
  }

  /** Drops what is before the next image. */
  #findStart(): boolean {
    const buffer = this.#buffer;
    for (let at = 0; at + 2 < this.#length; at++) {
      if (buffer[at] === FF && buffer[at + 1] === SOI && buffer[at + 2] === FF) {
        this.#drop(at);
        this.#at = 2;
        this.#state = 'segments';
        return true;
      }
    }
    this.#drop(Math.max(0, this.#length - 2));
    return false;
  }

  /** Up to a scan. Returns where the image ends, if it does before. */
  #readSegments(): number | undefined {
    const buffer = this.#buffer;
    while (this.#at + 1 < this.#length) {
      if (buffer[this.#at] !== FF) return this.#at; // no marker: damaged from here on
      const marker = buffer[this.#at + 1]!;
      if (marker === FF)
        this.#at++; // a fill byte
      else if (marker === EOI) return this.#at + 2;
      else if (marker === SOI) return this.#at;
      else if (marker === TEM || isRestart(marker)) this.#at += 2;
      else {
        if (this.#at + 3 >= this.#length) return undefined;
        const size = (buffer[this.#at + 2]! << 8) | buffer[this.#at + 3]!;
        this.#at += 2 + size; // the size counts its own two bytes
        if (marker !== SOS) continue;
        this.#state = 'scan';
        return undefined;
      }
    }
    return undefined;
  }

  /** Up to the marker after a scan's data. Returns where the image ends, if another begins there. */
  #readScan(): number | undefined {
    const buffer = this.#buffer;
    for (; this.#at + 1 < this.#length; this.#at++) {
      if (buffer[this.#at] !== FF) continue;
      const marker = buffer[this.#at + 1]!;
      if (marker === STUFFED || marker === FF || isRestart(marker)) continue;
      if (marker === SOI) return this.#at;
      this.#state = 'segments';
      return undefined;
    }
    return undefined;
  }

  #cut(end: number): Uint8Array {
    const image = this.#buffer.slice(0, end);
    this.#drop(end);
    this.#state = 'between';
    this.#images++;
    return image;
  }

  #drop(bytes: number): void {
    this.#buffer.copyWithin(0, bytes, this.#length);
    this.#length -= bytes;
    this.#at = 0;
  }
}

function isRestart(marker: number): boolean {
  return marker >= 0xd0 && marker <= 0xd7;
}

function tooLarge(maxBytes: number): ClientError {
  return new ClientError('too-large', `one image of the stream has more than ${maxBytes} bytes`);
}
