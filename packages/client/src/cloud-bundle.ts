import { BundleError, collect, SIGNATURE_FILE, type RemoteBundle } from '@raccoon/bundle';
import { TransportError, type Transport } from '@raccoon/transport';

/**
 * A bundle that a cloud serves, to be pulled.
 * @param name of the bundle; empty: the one that the cloud serves first
 * @param origin the cloud's address, for messages
 */
export function cloudBundle(transport: Transport, name: string, origin: string): RemoteBundle {
  let served = name;

  async function* chunks(file: string, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of transport.fetchFile(served, file, offset)) {
        signal?.throwIfAborted();
        yield chunk;
      }
    } catch (cause) {
      throw asBundleError(cause, `${file} of ${served}`);
    }
  }

  function asBundleError(cause: unknown, what: string): unknown {
    if (!(cause instanceof TransportError)) return cause;
    const code = cause.code === 'not-found' ? 'file-missing' : 'unreachable';
    return new BundleError(code, `${origin}: ${what}: ${cause.message}`, { cause });
  }

  return {
    origin,
    async manifest() {
      try {
        const info = await transport.getBundle(name);
        served = info.name;
        return new Uint8Array(info.manifest);
      } catch (cause) {
        throw asBundleError(cause, name || 'its bundle');
      }
    },
    async signature(signal) {
      try {
        return await collect(chunks(SIGNATURE_FILE, 0, signal), `${origin}: ${SIGNATURE_FILE}`);
      } catch (error) {
        if (error instanceof BundleError && error.code === 'file-missing') return undefined;
        throw error;
      }
    },
    fetch: chunks,
  };
}
