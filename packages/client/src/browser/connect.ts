/// <reference lib="dom" />
import { loadBundle, type Bundle } from '@raccoon/bundle';
import { EdgeError } from '@raccoon/edge';
import { openBrowserEdge, type BrowserEdge, type BrowserEdgeOptions } from '@raccoon/edge/browser';
import { connectFetch } from '@raccoon/transport/fetch';
import { createClient, type Client, type ClientOptions } from '../client.ts';
import { servedFiles } from './served-files.ts';

export interface BrowserConnectOptions extends ClientOptions, BrowserEdgeOptions {
  /** Base URL of the cloud's HTTP endpoint, for instance the page's own `location.origin`. */
  cloud: string;
  /** For a cloud that asks who is calling. Whoever has the page can read it. */
  token?: string | (() => string);
  /** A loaded bundle, or the name of one that the cloud serves; default: the one that it serves first. */
  bundle?: Bundle | string;
  /** Default: the browser's own. */
  fetch?: typeof fetch;
  /**
   * Whether the bundle is kept in the browser, and where: it is not fetched again then, and the page starts without a
   * network. Default: yes, in a cache of ours.
   */
  cache?: boolean | Cache;
}

/** A client in a page or a worker. */
export interface BrowserClient extends Client {
  readonly edge: BrowserEdge;
}

/** Among the caches of a page. */
const CACHE_NAME = 'raccoon';

/**
 * Loads the edge half of the bundle that a cloud serves and connects to it. Every file's SHA-256 is checked, whether it comes
 * from the cloud or the browser's cache. With a local exit that may answer (a deadline, or a policy other than `fixed`) it
 * succeeds without a link, too, when the bundle is in the cache.
 * @throws BundleError, TransportError (nobody there, another protocol, no trust between the two), EdgeError `platform`,
 * RangeError for settings that make no sense
 */
export async function connect(options: BrowserConnectOptions): Promise<BrowserClient> {
  const { cloud, token, bundle = '', cache = true } = options;
  if (globalThis.crypto?.subtle === undefined) {
    throw new EdgeError(
      'platform',
      'this page cannot check hashes, as its origin is not secure: serve it over https, or from localhost',
    );
  }
  const transport = {
    ...(token !== undefined && { token }),
    ...(options.fetch && { fetch: options.fetch }),
  };
  const dial = (): ReturnType<typeof connectFetch> => connectFetch(cloud, transport);
  const kept = cache === true ? await openCache() : cache || undefined;
  const loaded =
    typeof bundle === 'string' ? await loadBundle(await servedFiles(dial(), bundle, cloud, kept)) : bundle;
  const edge = await openBrowserEdge(loaded, options);
  try {
    const client = await createClient(edge, [dial], options, () => edge.close());
    return { ...client, edge };
  } catch (error) {
    await edge.close();
    throw error;
  }
}

/** None where a page may keep nothing: in some browsers' private windows, or when cookies are forbidden. */
async function openCache(): Promise<Cache | undefined> {
  return globalThis.caches?.open(CACHE_NAME).catch(() => undefined);
}
