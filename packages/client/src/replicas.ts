import type { Transport, TransportError } from '@raccoon/transport';

/** A way to a cloud, for one stream; closed when that has ended. */
export type Dialled = Pick<Transport, 'openStream' | 'close'>;

/** A way to a replica, or to what balances several. The same object for as long as it is the same replica. */
export interface Way {
  /** `host:port`, for people. */
  readonly address: string;
  /** A new one for each stream: a connection that died silently is not used again. */
  readonly dial: () => Dialled;
}

/** Which replicas there are, as known now. */
export interface Replicas {
  readonly ways: readonly Way[];
  /** Whether there will never be others. */
  readonly fixed: boolean;
  /**
   * Finds the first, and calls `changed` whenever there are others, or a look was in vain, until `close`.
   * @throws TransportError when there are none; it goes on looking all the same
   */
  open(changed: (error?: TransportError) => void): Promise<void>;
  /** One of them is gone: looks again, soon. */
  look(): void;
  close(): void;
}

/** Those that are given, for ever. */
export function fixedReplicas(ways: readonly Way[]): Replicas {
  return { ways, fixed: true, open: async () => undefined, look: () => undefined, close: () => undefined };
}
