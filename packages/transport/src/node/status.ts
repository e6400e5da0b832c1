import { Metadata, status } from '@grpc/grpc-js';
import type { StatusObject } from '@grpc/grpc-js';
import { errorTable, isErrorCode, TransportError } from '../errors.ts';
import type { InferError } from '../messages.ts';

// A status says less than our codes do, so the exact code travels beside it, and the retry advice where gRPC keeps it.
const codeKey = 'raccoon-code';
const retryKey = 'grpc-retry-pushback-ms';

export function toStatus({ code, message, retryAfterMs }: InferError): StatusObject {
  const metadata = new Metadata();
  metadata.set(codeKey, code);
  if (retryAfterMs > 0) metadata.set(retryKey, String(retryAfterMs));
  return { code: status[errorTable[code].status], details: message, metadata };
}

/** The error that a server of ours put into a status. */
export function fromStatus(cause: unknown): TransportError | undefined {
  if (!(cause instanceof Error && 'metadata' in cause && cause.metadata instanceof Metadata))
    return undefined;
  const [code] = cause.metadata.get(codeKey);
  if (typeof code !== 'string' || !isErrorCode(code)) return undefined;
  const message = 'details' in cause ? String(cause.details) : cause.message;
  const retryAfterMs = Number(cause.metadata.get(retryKey)[0] ?? 0);
  return new TransportError(code, message, { cause, retryAfterMs });
}
