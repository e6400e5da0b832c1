import { lookup } from 'node:dns/promises';
import { TransportError } from '@raccoon/transport';
import type { Dialled, Replicas, Way } from './replicas.ts';

export interface DnsOptions {
  /** What a name stands for: IP addresses. Default: as this machine looks names up (its resolver, /etc/hosts). */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Between two looks, ms; up to a quarter more or less, so that not all look at one moment. Default 5,000. */
  readonly intervalMs?: number;
}

export interface DnsReplicasOptions extends DnsOptions {
  /** `host:port`, and `dns:///host:port` for every address that the name has. */
  readonly addresses: readonly string[];
  /** @param host the name that the address was found by */
  readonly dial: (address: string, host?: string) => Dialled;
  /** 0 to 1; default Math.random. */
  readonly random?: () => number;
}

/** After a replica was lost, ms: names change a little later than replicas. */
const LEAST_INTERVAL_MS = 1000;

/** The replicas behind names, which are looked up again and again. */
export class DnsReplicas implements Replicas {
  readonly fixed = false;
  readonly #options: DnsReplicasOptions;
  readonly #names: readonly Name[];
  readonly #intervalMs: number;
  readonly #random: () => number;
  #ways: readonly Way[] = [];
  #changed: (error?: TransportError) => void = () => undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lookedAt = -Infinity;
  /** When the timer is due, `performance.now()`. */
  #dueAt = Infinity;
  #closed = false;

  /** @throws RangeError for what is no address */
  constructor(options: DnsReplicasOptions) {
    this.#options = options;
    this.#names = options.addresses.map(parse);
    this.#intervalMs = options.intervalMs ?? 5000;
    this.#random = options.random ?? Math.random;
    if (!(this.#intervalMs > 0 && this.#intervalMs < 2 ** 30)) {
      throw new RangeError(`dns.intervalMs must be above 0 and below 2^30, not ${this.#intervalMs}`);
    }
  }

  get ways(): readonly Way[] {
    return this.#ways;
  }

  async open(changed: (error?: TransportError) => void): Promise<void> {
    const error = await this.#look();
    this.#changed = changed;
    if (error && this.#ways.length === 0) throw error;
  }

  look(): void {
    this.#lookAt(Math.max(performance.now(), this.#lookedAt + LEAST_INTERVAL_MS));
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #lookAt(at: number): void {
    if (this.#closed || at >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = at;
    const again = async (): Promise<void> => {
      const before = this.#ways;
      const error = await this.#look();
      if (!this.#closed && (error || this.#ways !== before)) this.#changed(error);
    };
    this.#timer = setTimeout(() => void again(), at - performance.now());
  }

  /** Looks every name up. One that cannot be found is what it was. Returns why one cannot. */
  async #look(): Promise<TransportError | undefined> {
    this.#lookedAt = performance.now();
    this.#dueAt = 0; // nobody else looks meanwhile
    const errors = await Promise.all(this.#names.map((name) => this.#lookUp(name)));
    const found = new Map(
      this.#names.flatMap(({ host, addresses }) => addresses.map((address) => [address, host])),
    );
    const same = found.size === this.#ways.length && this.#ways.every(({ address }) => found.has(address));
    if (!same) this.#ways = this.#waysTo(found);
    this.#dueAt = Infinity;
    this.#lookAt(performance.now() + this.#intervalMs * (0.75 + 0.5 * this.#random()));
    return errors.find((error) => error !== undefined);
  }

  async #lookUp(name: Name): Promise<TransportError | undefined> {
    const { host, port } = name;
    if (host === undefined) return undefined;
    try {
      const found = await (this.#options.resolve ?? allOf)(host);
      if (found.length === 0) throw new Error('it has no address');
      name.addresses = found.map((ip) => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`));
      return undefined;
    } catch (cause) {
      const message = `${host} cannot be found (${(cause as Error).message}): is the name right, and the network there?`;
      return new TransportError('unavailable', message, { cause });
    }
  }

  /** Those that are known stay the same objects. */
  #waysTo(found: ReadonlyMap<string, string | undefined>): Way[] {
    const known = new Map(this.#ways.map((way) => [way.address, way]));
    return Array.from(
      found,
      ([address, host]) => known.get(address) ?? { address, dial: () => this.#options.dial(address, host) },
    );
  }
}

/** One of the addresses that were given. */
interface Name {
  /** Absent: the address is what it is. */
  readonly host?: string;
  readonly port?: string;
  /** Found the last time. */
  addresses: readonly string[];
}

/** Whether `address` is a name to look up. */
export function isName(address: string): boolean {
  return address.startsWith('dns:');
}

/** @throws RangeError */
function parse(address: string): Name {
  if (!isName(address)) return { addresses: [address] };
  const [, host, port] = /^dns:(?:\/\/\/)?([^/:]+):(\d+)$/.exec(address) ?? [];
  if (!host || !port) throw new RangeError(`"${address}" is no name and port: dns:///cloud.example:50051`);
  return { host, port, addresses: [] };
}

async function allOf(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}
