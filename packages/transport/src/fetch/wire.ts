import { isErrorCode } from '../errors.ts';
import type {
  BundleInfo,
  ClassScore,
  Hello,
  InferError,
  InferRequest,
  InferResponse,
  Result,
  ServerMessage,
  Welcome,
} from '../messages.ts';

// The few messages that a browser says and hears, in protobuf: proto/raccoon/v1/raccoon.proto. A library would be more
// code than all the rest of this transport. wire.test.ts holds it against protobufjs, which reads and writes the other end.

/** A ClientMessage with the Hello. */
export function encodeHello({ protocolMin, protocolMax, codecIds, client }: Hello): Bytes {
  const hello = message(
    number(1, protocolMin),
    number(2, protocolMax),
    ...codecIds.map((id) => bytes(3, fromHex(id))),
    text(4, client),
  );
  return bytes(3, hello);
}

/** A ClientMessage with the request. */
export function encodeRequest(request: InferRequest): Bytes {
  return bytes(
    1,
    message(
      number(1, request.id),
      bytes(2, request.payload),
      number(3, request.timeoutMs),
      number(4, request.topK),
      number(5, Number(request.wantLogits ?? 0)),
      number(6, request.sliceIndex),
      number(7, Number(request.moreSlices ?? 0)),
      number(8, request.priority),
      text(9, request.traceparent ?? ''),
      float(10, request.stopMargin),
    ),
  );
}

/** What a cloud says: its Welcome, an answer, or something that this version does not know. @throws RangeError */
export function decodeServerMessage(from: Uint8Array): ServerMessage {
  for (const [field, value] of fields(from)) {
    if (field === 1) return { kind: 'response', response: decodeResponse(value.bytes) };
    if (field === 2) return { kind: 'welcome', welcome: decodeWelcome(value.bytes) };
  }
  return { kind: 'unreadable' };
}

/** @throws RangeError */
export function decodeBundleInfo(from: Uint8Array): BundleInfo {
  let name = '';
  let version = '';
  let manifest: Uint8Array = none;
  for (const [field, value] of fields(from)) {
    if (field === 1) name = value.text;
    else if (field === 2) version = value.text;
    else if (field === 3) manifest = value.bytes;
  }
  return { name, version, manifest };
}

function decodeWelcome(from: Uint8Array): Welcome {
  const codecIds: string[] = [];
  const numbers = [0, 0, 0, 0, 0, 0, 0, 0];
  let bundle = '';
  let bundleVersion = '';
  for (const [field, value] of fields(from)) {
    if (field === 2) codecIds.push(toHex(value.bytes));
    else if (field === 3) bundle = value.text;
    else if (field === 4) bundleVersion = value.text;
    else if (field < numbers.length) numbers[field] = value.number;
  }
  const [, protocol = 0, , , , maxInFlight = 0, maxPayloadBytes = 0, maxSlices = 0] = numbers;
  return { protocol, codecIds, bundle, bundleVersion, maxInFlight, maxPayloadBytes, maxSlices };
}

function decodeResponse(from: Uint8Array): InferResponse {
  let id = 0;
  let result: Result | undefined;
  let error: InferError = { code: 'internal', message: 'the answer is empty', retryAfterMs: 0 };
  let queueMs = 0;
  let decodeMs = 0;
  let inferMs = 0;
  let bundleVersion = '';
  for (const [field, value] of fields(from)) {
    if (field === 1) id = value.number;
    else if (field === 2) result = decodeResult(value.bytes);
    else if (field === 3) error = decodeError(value.bytes);
    else if (field === 4) queueMs = value.float;
    else if (field === 5) decodeMs = value.float;
    else if (field === 6) inferMs = value.float;
    else if (field === 7) bundleVersion = value.text;
  }
  const answer = { id, queueMs, decodeMs, inferMs, bundleVersion };
  return result ? { ...answer, result } : { ...answer, error };
}

function decodeResult(from: Uint8Array): Result {
  const top: ClassScore[] = [];
  let margin = 0;
  let logits: Float32Array | undefined;
  for (const [field, value] of fields(from)) {
    if (field === 1) top.push(decodeScore(value.bytes));
    else if (field === 2) margin = value.float;
    else if (field === 3) logits = value.floats;
  }
  return { top, margin, ...(logits && { logits }) };
}

function decodeScore(from: Uint8Array): ClassScore {
  let index = 0;
  let probability = 0;
  let logit = 0;
  for (const [field, value] of fields(from)) {
    if (field === 1) index = value.number;
    else if (field === 2) probability = value.float;
    else if (field === 3) logit = value.float;
  }
  return { index, probability, logit };
}

function decodeError(from: Uint8Array): InferError {
  let code = '';
  let said = '';
  let retryAfterMs = 0;
  for (const [field, value] of fields(from)) {
    if (field === 1) code = value.text;
    else if (field === 2) said = value.text;
    else if (field === 3) retryAfterMs = value.number;
  }
  if (isErrorCode(code)) return { code, message: said, retryAfterMs };
  return { code: 'internal', message: `${code}: ${said}`, retryAfterMs };
}

type Bytes = Uint8Array<ArrayBuffer>;

const none = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

// Wire types.
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

function message(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What is 0 is left out, as is an empty text; an empty run of bytes is one. */
function number(field: number, value = 0): Uint8Array {
  return value === 0 ? none : Uint8Array.from([...varint((field << 3) | VARINT), ...varint(value)]);
}

function bytes(field: number, value: Uint8Array): Bytes {
  return message(Uint8Array.from([...varint((field << 3) | LENGTH), ...varint(value.length)]), value);
}

function text(field: number, value: string): Uint8Array {
  return value === '' ? none : bytes(field, encoder.encode(value));
}

function float(field: number, value = 0): Uint8Array {
  if (Object.is(value, 0)) return none;
  const four = new Uint8Array(4);
  new DataView(four.buffer).setFloat32(0, value, true);
  return message(Uint8Array.from(varint((field << 3) | FIXED32)), four);
}

/** Of a uint32. */
function varint(value: number): number[] {
  const said: number[] = [];
  let rest = value >>> 0;
  for (; rest > 0x7f; rest >>>= 7) said.push((rest & 0x7f) | 0x80);
  return [...said, rest];
}

/** A field's value, to be read as what the field is; as another it is 0 or empty. */
class Value {
  readonly number: number;
  readonly bytes: Uint8Array;

  constructor(value: number, contents: Uint8Array) {
    this.number = value;
    this.bytes = contents;
  }

  get text(): string {
    return decoder.decode(this.bytes);
  }

  get float(): number {
    return this.floats[0] ?? 0;
  }

  get floats(): Float32Array {
    const { buffer, byteOffset, byteLength } = this.bytes;
    const view = new DataView(buffer, byteOffset, byteLength);
    return Float32Array.from({ length: byteLength >> 2 }, (_, i) => view.getFloat32(4 * i, true));
  }
}

/** The fields of a message with their numbers, in their order. @throws RangeError when it is cut off, or no protobuf */
function* fields(from: Uint8Array): Generator<[field: number, value: Value]> {
  let at = 0;

  function readVarint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = from[at++];
      if (byte === undefined) throw cut();
      if (shift < 35) value |= (byte & 0x7f) << shift; // of what is longer, the lower half
      if (byte < 0x80) return value >>> 0;
    }
    throw new RangeError('a number of more than 64 bits');
  }

  function take(length: number): Uint8Array {
    if (length > from.length - at) throw cut();
    at += length;
    return from.subarray(at - length, at);
  }

  while (at < from.length) {
    const tag = readVarint();
    const type = tag & 7;
    let value: Value;
    if (type === VARINT) value = new Value(readVarint(), none);
    else if (type === LENGTH) value = new Value(0, take(readVarint()));
    else if (type === FIXED32) value = new Value(0, take(4));
    else if (type === FIXED64) value = new Value(0, take(8));
    else throw new RangeError(`a field of type ${type}`);
    yield [tag >>> 3, value];
  }
}

const cut = (): RangeError => new RangeError('the message is cut off');

function fromHex(digits: string): Uint8Array {
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

function toHex(from: Uint8Array): string {
  return Array.from(from, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
