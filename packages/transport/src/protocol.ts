import { TransportError } from './errors.ts';
import type { Hello } from './messages.ts';

/** The conversation that this package speaks. */
export const PROTOCOL_VERSION = 1;

/** Slices of one image, at most: as many as a bitstream has (docs/bitstream.md). */
export const MAX_SLICES = 4;

/** What a cloud grants each stream. */
export interface Limits {
  /** Images without an answer; above it the cloud stops reading the stream. */
  readonly maxInFlight: number;
  /** Bytes of one image, all its slices together. */
  readonly maxPayloadBytes: number;
  /** ms until a Hello must have come, and until a request is answered with 'deadline' whatever its own timeout. */
  readonly messageTimeoutMs: number;
}

/** 64 kB is ten times the largest bitstream of a 224 px image at a useful rate. */
export const defaultLimits: Limits = { maxInFlight: 64, maxPayloadBytes: 65_536, messageTimeoutMs: 60_000 };

/** `given`, with defaults where it is silent. */
export function limitsFrom(given: Partial<Limits> = {}): Limits {
  const limits = {
    maxInFlight: given.maxInFlight ?? defaultLimits.maxInFlight,
    maxPayloadBytes: given.maxPayloadBytes ?? defaultLimits.maxPayloadBytes,
    messageTimeoutMs: given.messageTimeoutMs ?? defaultLimits.messageTimeoutMs,
  };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isInteger(value) || value < 1 || value > 0x7fff_ffff) {
      throw new RangeError(`${name} must be a whole number from 1 to 2147483647, not ${value}`);
    }
  }
  return limits;
}

/** @throws TransportError 'bad-request' for a Hello that cannot be sent */
export function checkHello(hello: Hello): void {
  for (const id of hello.codecIds) {
    if (!/^[0-9a-f]{12}$/.test(id)) {
      throw new TransportError('bad-request', `a codec id is 12 hexadecimal digits, not "${id}"`);
    }
  }
}

/** The version that both speak, for a service's `hello`. @throws TransportError 'protocol' */
export function chooseProtocol(hello: Hello): number {
  if (hello.protocolMin <= PROTOCOL_VERSION && PROTOCOL_VERSION <= hello.protocolMax) return PROTOCOL_VERSION;
  const older = hello.protocolMax < PROTOCOL_VERSION ? 'client' : 'cloud';
  throw new TransportError(
    'protocol',
    `the cloud speaks protocol ${PROTOCOL_VERSION}, the client ${hello.protocolMin} to ${hello.protocolMax}: upgrade the ${older}`,
  );
}
