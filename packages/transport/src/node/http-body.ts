import type { IncomingMessage } from 'node:http';
import { TransportError } from '../errors.ts';

/** Of a body above its limit so much is read, and not kept: a client that is still sending would not hear the answer. */
const DISCARDED_BYTES = 4 * 1024 * 1024;

/**
 * A request's body.
 * @throws TransportError 'payload-too-large', without having kept more than the limit; 'cancelled' when the client is gone
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const declared = Number(request.headers['content-length'] ?? 0);
  let size = 0;
  try {
    if (declared <= DISCARDED_BYTES) {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size <= maxBytes) chunks.push(chunk);
        else chunks.length = 0;
        if (size > DISCARDED_BYTES) break;
      }
    }
  } catch (cause) {
    throw new TransportError('cancelled', 'the client is gone', { cause });
  }
  if (Math.max(size, declared) > maxBytes) {
    const message = `the message has more than ${maxBytes} bytes: send fewer bits per pixel`;
    throw new TransportError('payload-too-large', message);
  }
  return Buffer.concat(chunks);
}
