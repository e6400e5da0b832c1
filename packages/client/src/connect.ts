import type { Bundle } from '@raccoon/bundle';
import { openEdge } from '@raccoon/edge/node';
import type { Transport } from '@raccoon/transport';
import { connectGrpc, type ClientTls } from '@raccoon/transport/node';
import { createClient, type Client, type ClientOptions } from './client.ts';
import { DnsReplicas, isName, type DnsOptions } from './dns.ts';
import { fixedReplicas, type Dialled, type Replicas } from './replicas.ts';

export interface ConnectOptions extends ClientOptions {
  /**
   * `host:port` of a cloud, `dns:///host:port` for every address that the name has, or several of them: replicas, which share
   * the images (`streams`). Or a transport.
   */
  cloud: string | readonly string[] | Transport;
  /** How names are looked up. */
  dns?: DnsOptions;
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
    const replicas = shared
      ? fixedReplicas([{ address: 'transport', dial: () => borrowed(shared) }])
      : replicasOf(options);
    return await createClient(edge, replicas, options, release);
  } catch (error) {
    await release();
    throw error;
  }
}

/**
 * A connection of its own for each stream: gRPC waits for seconds before it tries again where it was refused, and would open
 * the next stream on a connection that is half dead.
 */
function replicasOf({ cloud, tls, token, dns }: ConnectOptions): Replicas {
  const addresses = typeof cloud === 'string' ? [cloud] : (cloud as readonly string[]);
  if (addresses.length === 0) throw new RangeError('cloud has no address: give at least one host:port');
  const dial = (address: string, host?: string): Dialled => {
    // the certificate is for the name, not for what it stands for today
    const named = tls && host !== undefined ? { serverName: host, ...(tls === true ? {} : tls) } : tls;
    return connectGrpc(address, { ...(named && { tls: named }), ...(token !== undefined && { token }) });
  };
  if (addresses.some(isName)) return new DnsReplicas({ ...dns, addresses, dial });
  return fixedReplicas(addresses.map((address) => ({ address, dial: () => dial(address) })));
}

/** Given by the caller, for all streams: it is closed with the client. */
function borrowed(transport: Transport): Dialled {
  return {
    openStream: (hello, options) => transport.openStream(hello, options),
    close: async () => undefined,
  };
}
