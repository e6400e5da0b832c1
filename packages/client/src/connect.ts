import type { Bundle } from '@raccoon/bundle';
import { openEdge } from '@raccoon/edge/node';
import type { Transport } from '@raccoon/transport';
import { connectGrpc, type ClientTls } from '@raccoon/transport/node';
import { createClient, type Client, type ClientOptions } from './client.ts';
import type { Dialled } from './link.ts';

export interface ConnectOptions extends ClientOptions {
  /** `host:port` of a cloud, several to go on to the next when one is gone, or a transport. */
  cloud: string | readonly string[] | Transport;
  /** Paths of PEM files, or `true` for the authorities that Node knows; default: without TLS. */
  tls?: ClientTls | true;
  /** For a cloud that asks who is calling; it goes over TLS, or to this machine, only. */
  token?: string | (() => string);
  /** A loaded bundle, or its name or path; the same as the cloud's. */
  bundle: Bundle | string;
  /** Threads of the encoder. */
  threads?: number;
  /** Photos with more are refused. */
  maxMegapixels?: number;
}

/**
 * Loads the edge half of a bundle and connects to a cloud. With a local exit that may answer (a deadline, or a policy other
 * than `fixed`) it succeeds without a link, too, and goes on looking for one.
 * @throws BundleError, TransportError (nobody there, another bundle, another protocol, no trust between the two),
 * RangeError for settings that make no sense
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const { cloud, bundle, threads, maxMegapixels } = options;
  const edge = await openEdge(bundle, {
    ...(threads !== undefined && { threads }),
    ...(maxMegapixels !== undefined && { maxMegapixels }),
  });
  const shared = typeof cloud === 'object' && 'openStream' in cloud ? cloud : undefined;
  const release = async (): Promise<void> => {
    await edge.close();
    await shared?.close();
  };
  try {
    return await createClient(edge, shared ? [() => borrowed(shared)] : dialsOf(options), options, release);
  } catch (error) {
    await release();
    throw error;
  }
}

/**
 * A connection of its own for each stream: gRPC waits for seconds before it tries again where it was refused, and would open
 * the next stream on a connection that is half dead.
 */
function dialsOf({ cloud, tls, token }: ConnectOptions): (() => Dialled)[] {
  const addresses = typeof cloud === 'string' ? [cloud] : (cloud as readonly string[]);
  if (addresses.length === 0) throw new RangeError('cloud has no address: give at least one host:port');
  const grpc = { ...(tls && { tls }), ...(token !== undefined && { token }) };
  return addresses.map((address) => () => connectGrpc(address, grpc));
}

/** Given by the caller, for all streams: it is closed with the client. */
function borrowed(transport: Transport): Dialled {
  return {
    openStream: (hello, options) => transport.openStream(hello, options),
    close: async () => undefined,
  };
}
