import type { Metadata } from '@grpc/grpc-js';
import { TransportError } from '../errors.ts';
import { traceFrom } from '../trace.ts';
import type { Caller, Origin } from '../transport.ts';
import type { Connection, Listener } from './listener.ts';

/** What a call shows of who makes it. */
export interface Credentials {
  /** After `Bearer` in the call's authorization. */
  readonly token?: string;
  /** The common name of a client certificate that was verified. */
  readonly certificateName?: string;
  /** The address of the other end. */
  readonly peer: string;
}

/** Who that is. @throws TransportError 'unauthenticated' */
export type Authenticate = (credentials: Credentials) => Caller;

/** What every kind of call has. */
interface AnyCall {
  readonly metadata: Metadata;
  getPeer(): string;
}

export interface Admitted {
  readonly origin: Origin;
  readonly connection: Connection;
}

/** Finds out where a call comes from, and whether it may come in. */
export class Gate {
  readonly #listener: Listener;
  readonly #authenticate: Authenticate;

  constructor(listener: Listener, authenticate: Authenticate = byAddress) {
    this.#listener = listener;
    this.#authenticate = authenticate;
  }

  /** @throws TransportError 'unauthenticated' */
  admit(call: AnyCall): Admitted {
    const peer = call.getPeer();
    const connection = this.#listener.connection(peer);
    if (!connection) throw new TransportError('cancelled', 'the client is gone');
    const { refusal, certificateName } = connection;
    if (refusal) throw new TransportError('unauthenticated', refusal);
    const token = bearer(first(call.metadata, 'authorization'));
    const caller = this.#authenticate({
      peer,
      ...(token !== undefined && { token }),
      ...(certificateName !== undefined && { certificateName }),
    });
    const trace = traceFrom(first(call.metadata, 'traceparent'), first(call.metadata, 'tracestate'));
    return { origin: { peer, caller, ...(trace && { trace }) }, connection };
  }
}

/** Without authentication a caller is its certificate, or whoever sits at an address, by whatever port. */
export function byAddress({ certificateName, peer }: Credentials): Caller {
  return { name: certificateName ?? peer.replace(/:\d+$/, '').replace(/^::ffff:(?=\d+\.)/, '') };
}

/** The token of an `authorization`. */
export function bearer(authorization: string | undefined): string | undefined {
  return /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
}

function first(metadata: Metadata, key: string): string | undefined {
  const [value] = metadata.get(key);
  return typeof value === 'string' ? value : undefined;
}
