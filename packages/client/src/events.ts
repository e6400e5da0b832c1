import type { TransportError, TransportErrorCode, Welcome } from '@raccoon/transport';

/** What happens to the link, by the name of the event. */
export interface ClientEventMap {
  /** A stream is open. */
  connected: Pick<Welcome, 'bundle' | 'bundleVersion'> & Where;
  /** It takes no more images; `draining` says that the cloud left in good order. */
  disconnected: { readonly error: TransportError } & Where;
  /** Another attempt to open one follows after `delayMs`; `attempt` is the number of those that failed. */
  reconnecting: {
    readonly attempt: number;
    readonly delayMs: number;
    readonly error: TransportError;
  } & Where;
  /** An image goes to the cloud once more; `sends` is how often it went before, `code` why that was in vain. */
  resent: { readonly code: TransportErrorCode; readonly sends: number };
}

interface Where {
  /** The cloud's, or the replica's. */
  readonly address: string;
}

type Name = keyof ClientEventMap;

class ClientEvent<N extends Name> extends Event {
  readonly detail: ClientEventMap[N];

  constructor(name: N, detail: ClientEventMap[N]) {
    super(name);
    this.detail = detail;
  }
}

/** An EventTarget, which Node and browsers have, with types: `events.on('disconnected', ({ error }) => ...)`. */
export class ClientEvents extends EventTarget {
  /** Calls `listener` at each such event. Returns what ends that. */
  on<N extends Name>(name: N, listener: (detail: ClientEventMap[N]) => void): () => void {
    const listen = (event: Event): void => listener((event as ClientEvent<N>).detail);
    this.addEventListener(name, listen);
    return () => this.removeEventListener(name, listen);
  }

  emit<N extends Name>(name: N, detail: ClientEventMap[N]): void {
    this.dispatchEvent(new ClientEvent(name, detail));
  }
}
