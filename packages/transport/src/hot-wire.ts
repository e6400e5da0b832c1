import type { ClassScore, InferRequest, InferResponse, Result } from './messages.ts';

// Requests and results by hand: protobufjs builds two objects for each message, which is half of what a message costs.
// Only what is common is here. A decoder returns nothing for bytes that it does not know, and protobufjs reads those.

/** A ClientMessage of one request. */
export function encodeRequest(request: InferRequest): Buffer {
  const {
    id,
    payload,
    timeoutMs,
    topK,
    wantLogits,
    sliceIndex,
    moreSlices,
    priority,
    traceparent,
    stopMargin,
  } = request;
  const trace = traceparent ? Buffer.byteLength(traceparent) : 0;
  const size =
    numberSize(id) +
    bytesSize(payload.length) +
    numberSize(timeoutMs) +
    numberSize(topK) +
    numberSize(Number(wantLogits ?? 0)) +
    numberSize(sliceIndex) +
    numberSize(Number(moreSlices ?? 0)) +
    numberSize(priority) +
    (trace > 0 ? bytesSize(trace) : 0) +
    floatSize(stopMargin);
  const to = new Encoder(bytesSize(size));
  to.header(0x0a, size);
  to.number(0x08, id);
  to.bytes(0x12, payload);
  to.number(0x18, timeoutMs);
  to.number(0x20, topK);
  to.number(0x28, Number(wantLogits ?? 0));
  to.number(0x30, sliceIndex);
  to.number(0x38, Number(moreSlices ?? 0));
  to.number(0x40, priority);
  if (traceparent) to.text(0x4a, traceparent, trace);
  to.float(0x55, stopMargin);
  return to.buffer;
}

/** A ServerMessage of one response with a result. */
export function encodeResult(response: InferResponse & { readonly result: Result }): Buffer {
  const { id, result, queueMs, decodeMs, inferMs, bundleVersion } = response;
  const { top, margin, logits } = result;
  const version = bundleVersion ? Buffer.byteLength(bundleVersion) : 0;
  let resultSize = floatSize(margin) + (logits ? bytesSize(4 * logits.length) : 0);
  for (const score of top) resultSize += bytesSize(scoreSize(score));
  const size =
    numberSize(id) +
    bytesSize(resultSize) +
    floatSize(queueMs) +
    floatSize(decodeMs) +
    floatSize(inferMs) +
    (version > 0 ? bytesSize(version) : 0);
  const to = new Encoder(bytesSize(size));
  to.header(0x0a, size);
  to.number(0x08, id);
  to.header(0x12, resultSize);
  for (const score of top) {
    to.header(0x0a, scoreSize(score));
    to.number(0x08, score.index);
    to.float(0x15, score.probability);
    to.float(0x1d, score.logit);
  }
  to.float(0x15, margin);
  if (logits) to.floats(0x1a, logits);
  to.float(0x25, queueMs);
  to.float(0x2d, decodeMs);
  to.float(0x35, inferMs);
  if (version > 0) to.text(0x3a, bundleVersion, version);
  return to.buffer;
}

/** The request of a ClientMessage that is nothing else. */
export function decodeRequest(bytes: Buffer): InferRequest | undefined {
  const from = new Decoder(bytes);
  if (!from.isOnly(0x0a)) return undefined;
  let id = 0;
  let payload: Uint8Array = none;
  let timeoutMs = 0;
  let topK = 0;
  let wantLogits = false;
  let sliceIndex = 0;
  let moreSlices = false;
  let priority = 0;
  let traceparent = '';
  let stopMargin = 0;
  while (from.more) {
    switch (from.tag()) {
      case 0x08:
        id = from.number();
        break;
      case 0x12:
        payload = from.bytes();
        break;
      case 0x18:
        timeoutMs = from.number();
        break;
      case 0x20:
        topK = from.number();
        break;
      case 0x28:
        wantLogits = from.number() !== 0;
        break;
      case 0x30:
        sliceIndex = from.number();
        break;
      case 0x38:
        moreSlices = from.number() !== 0;
        break;
      case 0x40:
        priority = from.number();
        break;
      case 0x4a:
        traceparent = from.text();
        break;
      case 0x55:
        stopMargin = from.float();
        break;
      default:
        return undefined;
    }
  }
  if (from.failed) return undefined;
  return {
    id,
    payload,
    timeoutMs,
    topK,
    wantLogits,
    sliceIndex,
    moreSlices,
    priority,
    traceparent,
    stopMargin,
  };
}

/** The response with a result of a ServerMessage that is nothing else. */
export function decodeResult(bytes: Buffer): InferResponse | undefined {
  const from = new Decoder(bytes);
  if (!from.isOnly(0x0a)) return undefined;
  let id = 0;
  let result: Result | undefined;
  let queueMs = 0;
  let decodeMs = 0;
  let inferMs = 0;
  let bundleVersion = '';
  while (from.more) {
    switch (from.tag()) {
      case 0x08:
        id = from.number();
        break;
      case 0x12:
        if (result) return undefined;
        result = decodeScores(from);
        if (!result) return undefined;
        break;
      case 0x25:
        queueMs = from.float();
        break;
      case 0x2d:
        decodeMs = from.float();
        break;
      case 0x35:
        inferMs = from.float();
        break;
      case 0x3a:
        bundleVersion = from.text();
        break;
      default:
        return undefined;
    }
  }
  if (from.failed || !result) return undefined;
  return { id, queueMs, decodeMs, inferMs, bundleVersion, result };
}

function decodeScores(from: Decoder): Result | undefined {
  const outer = from.enter();
  const top: ClassScore[] = [];
  let margin = 0;
  let logits: Float32Array | undefined;
  while (from.more) {
    switch (from.tag()) {
      case 0x0a: {
        const score = decodeScore(from);
        if (!score) return undefined;
        top.push(score);
        break;
      }
      case 0x15:
        margin = from.float();
        break;
      case 0x1a:
        if (logits) return undefined;
        logits = from.floats();
        break;
      default:
        return undefined;
    }
  }
  from.leave(outer);
  return logits && logits.length > 0 ? { top, margin, logits } : { top, margin };
}

function decodeScore(from: Decoder): ClassScore | undefined {
  const outer = from.enter();
  let index = 0;
  let probability = 0;
  let logit = 0;
  while (from.more) {
    switch (from.tag()) {
      case 0x08:
        index = from.number();
        break;
      case 0x15:
        probability = from.float();
        break;
      case 0x1d:
        logit = from.float();
        break;
      default:
        return undefined;
    }
  }
  from.leave(outer);
  return { index, probability, logit };
}

const none = new Uint8Array(0);

/** Of a uint32 field; what is 0 is left out. */
function numberSize(value = 0): number {
  return value === 0 ? 0 : 1 + varintSize(value >>> 0);
}

function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

/** Of a field of so many bytes. */
const bytesSize = (length: number): number => 1 + varintSize(length) + length;

/** Negative zero is not left out. */
const isZero = (value: number): boolean => Object.is(value, 0);
const floatSize = (value = 0): number => (isZero(value) ? 0 : 5);

function scoreSize({ index, probability, logit }: ClassScore): number {
  return numberSize(index) + floatSize(probability) + floatSize(logit);
}

/** Writes fields whose sizes are known. */
class Encoder {
  readonly buffer: Buffer;
  #at = 0;

  constructor(size: number) {
    this.buffer = Buffer.allocUnsafe(size);
  }

  header(tag: number, length: number): void {
    this.buffer[this.#at++] = tag;
    this.#varint(length);
  }

  number(tag: number, value = 0): void {
    if (value !== 0) this.header(tag, value >>> 0);
  }

  float(tag: number, value = 0): void {
    if (isZero(value)) return;
    this.buffer[this.#at++] = tag;
    this.#at = this.buffer.writeFloatLE(value, this.#at);
  }

  floats(tag: number, values: Float32Array): void {
    this.header(tag, 4 * values.length);
    for (const value of values) this.#at = this.buffer.writeFloatLE(value, this.#at);
  }

  bytes(tag: number, value: Uint8Array): void {
    this.header(tag, value.length);
    this.buffer.set(value, this.#at);
    this.#at += value.length;
  }

  text(tag: number, value: string, length: number): void {
    this.header(tag, length);
    this.#at += this.buffer.write(value, this.#at);
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.buffer[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.buffer[this.#at++] = rest;
  }
}

/** Reads fields of a message, never beyond its end; after a read that would, `failed` is set and `more` is false. */
class Decoder {
  failed = false;
  readonly #bytes: Buffer;
  #at = 0;
  #end: number;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  get more(): boolean {
    return this.#at < this.#end;
  }

  /** Steps into the one field that the message consists of. */
  isOnly(tag: number): boolean {
    if (this.#end === 0 || this.#bytes[this.#at++] !== tag) return false;
    return this.number() === this.#end - this.#at && !this.failed;
  }

  /** Steps into a field of bytes; `leave` takes what it returns. */
  enter(): number {
    const outer = this.#end;
    const length = this.#length();
    this.#end = this.failed ? this.#at : this.#at + length;
    return outer;
  }

  leave(outer: number): void {
    this.#end = this.failed ? this.#at : outer;
  }

  /** Of one byte, as all are here. */
  tag(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  /** A uint32. */
  number(): number {
    let value = 0;
    for (let shift = 0; shift < 35 && this.#at < this.#end; shift += 7) {
      const byte = this.#bytes[this.#at++] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    return this.#fail();
  }

  float(): number {
    if (this.#at + 4 > this.#end) return this.#fail();
    const value = this.#bytes.readFloatLE(this.#at);
    this.#at += 4;
    return value;
  }

  floats(): Float32Array {
    const length = this.#length();
    if (length % 4 !== 0) this.#fail();
    if (this.failed) return new Float32Array(0);
    const values = new Float32Array(length / 4);
    for (let i = 0; i < values.length; i++) values[i] = this.float();
    return values;
  }

  /** A view of the message's memory. */
  bytes(): Uint8Array {
    const length = this.#length();
    const { buffer, byteOffset } = this.#bytes;
    const value = new Uint8Array(buffer, byteOffset + this.#at, length);
    this.#at += length;
    return value;
  }

  text(): string {
    const length = this.#length();
    const value = this.#bytes.toString('utf8', this.#at, this.#at + length);
    this.#at += length;
    return value;
  }

  /** Of the bytes that follow; 0 when there are fewer. */
  #length(): number {
    const length = this.number();
    return length <= this.#end - this.#at ? length : this.#fail();
  }

  #fail(): number {
    this.failed = true;
    this.#end = this.#at;
    return 0;
  }
}
