/** Every way a request or a link can fail, as both ends name it. */
export type TransportErrorCode =
  | 'bad-request' // the message contradicts the protocol
  | 'corrupt-bitstream' // the payload is damaged
  | 'unknown-codec' // the cloud does not have the tables that the payload was coded with
  | 'payload-too-large'
  | 'not-found' // no such bundle or file
  | 'unauthenticated' // no token, one that the cloud does not know, or a certificate that does not hold
  | 'forbidden' // this caller may not use this bundle
  | 'protocol' // no protocol version in common, or no Raccoon at the other end
  | 'overloaded' // shed at the door
  | 'rate-limited' // this caller has sent more than it may
  | 'deadline' // not done within timeoutMs
  | 'cancelled' // by the client
  | 'draining' // the cloud is leaving
  | 'unavailable' // nobody there, or the link broke
  | 'internal';

/** gRPC's status names, by number. */
const statusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

export interface ErrorRow {
  /** The gRPC status that stands for it. */
  readonly status: (typeof statusNames)[number];
  /** The HTTP status that stands for it. */
  readonly http: number;
  /** Whether the same request may succeed later or elsewhere. */
  readonly retry: boolean;
}

/** THE error table. Where several codes share a status, the first of them is what a bare status reads as. */
export const errorTable: Readonly<Record<TransportErrorCode, ErrorRow>> = {
  'bad-request': { status: 'INVALID_ARGUMENT', http: 400, retry: false },
  'payload-too-large': { status: 'INVALID_ARGUMENT', http: 413, retry: false }, // middle boxes retry RESOURCE_EXHAUSTED
  'corrupt-bitstream': { status: 'DATA_LOSS', http: 422, retry: false },
  'unknown-codec': { status: 'FAILED_PRECONDITION', http: 422, retry: false },
  'not-found': { status: 'NOT_FOUND', http: 404, retry: false },
  unauthenticated: { status: 'UNAUTHENTICATED', http: 401, retry: false },
  forbidden: { status: 'PERMISSION_DENIED', http: 403, retry: false },
  protocol: { status: 'UNIMPLEMENTED', http: 501, retry: false },
  overloaded: { status: 'RESOURCE_EXHAUSTED', http: 503, retry: true },
  'rate-limited': { status: 'RESOURCE_EXHAUSTED', http: 429, retry: true },
  deadline: { status: 'DEADLINE_EXCEEDED', http: 504, retry: false },
  cancelled: { status: 'CANCELLED', http: 499, retry: false },
  unavailable: { status: 'UNAVAILABLE', http: 503, retry: true },
  draining: { status: 'UNAVAILABLE', http: 503, retry: true },
  internal: { status: 'INTERNAL', http: 500, retry: false },
};

/** Whether `code` is in the table; a newer peer may know more. */
export function isErrorCode(code: string): code is TransportErrorCode {
  return Object.hasOwn(errorTable, code);
}

const codes = Object.keys(errorTable).filter(isErrorCode);

/** The code that a bare gRPC status stands for: one from a proxy, say, that carries no code of ours. */
function codeOfStatus(number: number, details: string): TransportErrorCode {
  const name = statusNames[number];
  // gRPC's own size check.
  if (name === 'RESOURCE_EXHAUSTED' && details.includes('larger than')) return 'payload-too-large';
  return codes.find((code) => errorTable[code].status === name) ?? 'internal';
}

/** What Node says when there is no connection or no longer one. */
const linkErrors: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
]);

export interface TransportErrorOptions {
  readonly cause?: unknown;
  /** ms to wait before a retry, 0 = no advice. */
  readonly retryAfterMs?: number;
}

/** The one error that leaves this package. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly code: TransportErrorCode;
  readonly retryAfterMs: number;

  constructor(code: TransportErrorCode, message: string, options: TransportErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.code = code;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }

  /** What an aborted signal means. */
  static cancelled({ reason }: AbortSignal): TransportError {
    if (reason instanceof TransportError) return reason;
    return new TransportError('cancelled', 'cancelled by the caller', { cause: reason });
  }

  /** Any thrown value as a TransportError; `address` is the cloud's, for the message. */
  static from(cause: unknown, address?: string): TransportError {
    if (cause instanceof TransportError) return cause;
    const code = property(cause, 'code'); // of a Node error or a gRPC status
    const text = String(property(cause, 'details') || property(cause, 'message') || cause);
    const known = typeof code === 'number' ? codeOfStatus(code, text) : 'internal';
    if (linkErrors.has(code) || known === 'unavailable') {
      return new TransportError('unavailable', address ? nobodyAt(address) : text, { cause });
    }
    return new TransportError(known, text, { cause });
  }
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function nobodyAt(address: string): string {
  return `no Raccoon cloud answers at ${address} - is \`raccoon cloud\` running there?`;
}
