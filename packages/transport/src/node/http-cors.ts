import type { IncomingMessage } from 'node:http';
import { TransportError } from '../errors.ts';

/** Seconds that a browser need not ask again; none keeps an answer for longer than two hours. */
const PREFLIGHT_SECONDS = 7200;

/** Pages of which origins may read what an endpoint says. Those of its own always may. */
export class Cors {
  readonly #allowed: ReadonlySet<string>;

  /** @throws TransportError 'bad-request' */
  constructor(origins: readonly string[]) {
    for (const origin of origins) {
      const isOrigin = /^https?:/.test(origin) && URL.canParse(origin) && new URL(origin).origin === origin;
      if (origin === '*' || isOrigin) continue;
      const message = `an origin is https://host or http://host:port without a path, or * for all, not "${origin}"`;
      throw new TransportError('bad-request', message);
    }
    this.#allowed = new Set(origins);
  }

  /** What every answer to `request` says. */
  headers({ headers: { origin } }: IncomingMessage): Record<string, string> {
    if (this.#allowed.size === 0) return {};
    if (this.#allowed.has('*')) return { 'access-control-allow-origin': '*' };
    // a cache must not give one origin's answer to another
    const own: Record<string, string> = { vary: 'origin' };
    if (origin !== undefined && this.#allowed.has(origin)) own['access-control-allow-origin'] = origin;
    return own;
  }

  /** What the answer to a browser that asks whether a page may call says beside that. */
  preflight(): Record<string, string> {
    return {
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': 'authorization, content-type, range',
      'access-control-max-age': String(PREFLIGHT_SECONDS),
    };
  }
}
