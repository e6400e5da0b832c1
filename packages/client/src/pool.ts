import { errorTable, TransportError, type Hello, type InferResponse } from '@raccoon/transport';
import { backoff, type Reconnect } from './backoff.ts';
import type { ClientEvents } from './events.ts';
import { follow } from './follow.ts';
import { Line } from './line.ts';
import { choose } from './pool-choice.ts';
import type { Dialled, Replicas, Way } from './replicas.ts';

export interface PoolOptions {
  readonly replicas: Replicas;
  readonly hello: Hello;
  /** At a time, at most; absent: one to each replica that there is, up to MAX_STREAMS. */
  readonly streams: number | undefined;
  readonly reconnect: Reconnect;
  /** Whether what broke is opened again by itself. */
  readonly again: boolean;
  readonly events: ClientEvents;
  /** 0 to 1. */
  readonly random: () => number;
}

/** What a pool tells of its lines. */
export interface PoolEvents {
  /** There is one more. */
  opened(): void;
  /** There is one less. */
  left(): void;
  answered(line: Line, id: number, response: InferResponse): void;
  /** Sent over a line and not answered. */
  lost(id: number, error: TransportError): void;
  /** There is none, and whoever waits for one has waited long enough. */
  hopeless(error: TransportError): void;
}

/** A way, and what became of it. */
interface Route {
  readonly way: Way;
  /** Lines that take requests, and attempts to open one. */
  lines: number;
  /** In succession: attempts in vain, streams that were of no use. */
  failures: number;
  /** Why the last attempt was in vain. */
  error?: TransportError;
  /** Of the rest before the next attempt. */
  timer?: ReturnType<typeof setTimeout>;
  /** When it was last tried, in attempts of all. */
  dialled: number;
  /** Among those that were never tried. */
  readonly order: number;
}

interface Opening {
  readonly signal: AbortSignal | undefined;
  resolve(): void;
  reject(error: TransportError): void;
}

/** Streams to as many replicas, unless somebody says how many. */
export const MAX_STREAMS = 8;
/** Between two reports of a cloud's load, ms. More of them made queues longer: what several read at once, they act on at once. */
const LOAD_INTERVAL_MS = 1000;

/** The open lines: one to every replica, or several through a balancer; opened again when they break. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #events: PoolEvents;
  readonly #routes = new Map<Way, Route>();
  /** Those that take requests. */
  readonly #lines = new Map<Line, Route>();
  readonly #transports = new Set<Dialled>();
  /** While `open` waits for the first line. */
  #opening: Opening | undefined;
  #dials = 0;
  #downSince: number | undefined;
  /** Aborted by `close`. */
  readonly #closing = new AbortController();

  constructor(options: PoolOptions, events: PoolEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** Lines that take requests. */
  get size(): number {
    return this.#lines.size;
  }

  /** Waits for the first line, with one attempt for each way. @throws TransportError */
  async open(signal?: AbortSignal): Promise<void> {
    await this.#options.replicas.open((error) => this.#changed(error));
    if (signal?.aborted) throw TransportError.cancelled(signal);
    this.#findRoutes();
    await new Promise<void>((resolve, reject) => {
      this.#closing.signal.addEventListener('abort', () => reject(this.#closing.signal.reason as Error));
      this.#opening = { signal, resolve, reject };
      this.#keep();
    });
    if (!this.#options.again) return;
    for (const route of this.#routes.values()) if (route.error) this.#rest(route, route.error);
    this.#keep();
  }

  /** Goes on where `open` failed, as after a long break: what never was there gets no patience. */
  openLater(error: TransportError): void {
    this.#downSince = -Infinity;
    this.#findRoutes();
    for (const route of this.#routes.values()) {
      route.failures = 1;
      this.#rest(route, error);
    }
  }

  /** Somebody waits for a line, and there is none. */
  wake(): void {
    this.#downSince ??= performance.now();
    this.#findRoutes();
    if (!this.#options.again) for (const route of this.#routes.values()) delete route.error;
    this.#keep();
  }

  /** Whether there was a line, or somebody waits for one: what fails is tried again. Not so while `open` makes its attempts. */
  get #goesOn(): boolean {
    return this.#lines.size > 0 || this.#downSince !== undefined;
  }

  /** The line for one more request, if one has room for it. */
  pick(): Line | undefined {
    const free = [];
    for (const line of this.#lines.keys()) if (line.room > 0) free.push(line);
    return choose(free, this.#options.random);
  }

  /** Whether a request that a line has refused may go to another one at once. */
  hasOther(than: Line): boolean {
    for (const line of this.#lines.keys()) {
      if (line !== than && line.room > 0 && line.restMs === 0) return true;
    }
    return false;
  }

  /** Whether requests go over this line still. */
  has(line: Line): boolean {
    return this.#lines.has(line);
  }

  async close(reason: TransportError): Promise<void> {
    this.#closing.abort(reason);
    this.#options.replicas.close();
    for (const { timer } of this.#routes.values()) clearTimeout(timer);
    await Promise.all([...this.#transports].map((transport) => transport.close()));
  }

  /** The replicas are others, or were looked for in vain. */
  #changed(error?: TransportError): void {
    this.#findRoutes();
    if (error && this.#routes.size === 0) this.#judge(error);
    this.#keep();
  }

  #findRoutes(): void {
    const { replicas, streams, random } = this.#options;
    const { ways } = replicas;
    for (const way of ways) {
      if (this.#routes.has(way)) continue;
      // one after the other as they are given; several at random, so that not all clients take the same few
      const order = streams === 1 ? 0 : random();
      this.#routes.set(way, { way, lines: 0, failures: 0, dialled: 0, order });
    }
    for (const [way, { timer }] of this.#routes) {
      if (ways.includes(way)) continue;
      clearTimeout(timer);
      this.#routes.delete(way);
    }
    for (const [line, { way }] of this.#lines) if (!this.#routes.has(way)) line.leave(goneError(way));
  }

  /** Opens what is missing. */
  #keep(): void {
    for (let route = this.#next(); route; route = this.#next()) void this.#dial(route);
  }

  /** The way of one more stream: where there are fewest, and of those the one tried longest ago. */
  #next(): Route | undefined {
    const { streams, again } = this.#options;
    const routes = [...this.#routes.values()];
    const most = streams ?? Math.min(routes.length, MAX_STREAMS);
    const lines = routes.reduce((sum, route) => sum + route.lines, 0);
    if (lines >= most || this.#closing.signal.aborted) return undefined;
    const once = !again || !this.#goesOn;
    const free = routes.filter(
      (route) => route.timer === undefined && route.lines * routes.length < most && !(once && route.error),
    );
    return free.toSorted((a, b) => a.lines - b.lines || a.dialled - b.dialled || a.order - b.order)[0];
  }

  async #dial(route: Route): Promise<void> {
    route.lines++;
    route.dialled = ++this.#dials;
    try {
      const line = await this.#connect(route.way);
      delete route.error;
      this.#adopt(route, line);
    } catch (cause) {
      route.lines--;
      if (!this.#closing.signal.aborted) this.#failed(route, TransportError.from(cause));
    }
  }

  async #connect(way: Way): Promise<Line> {
    const { hello, streams, reconnect, random, events } = this.#options;
    const signal = this.#opening?.signal;
    const transport = way.dial();
    this.#transports.add(transport);
    const stop = new AbortController();
    const enough = follow(stop, this.#closing.signal);
    const opened = signal && follow(stop, signal);
    try {
      // one stream has nothing to choose from: its cloud need not say how busy it is
      const said = streams === 1 ? hello : { ...hello, loadIntervalMs: LOAD_INTERVAL_MS };
      const stream = await transport.openStream(said, { signal: stop.signal });
      const { bundle, bundleVersion } = stream.welcome;
      const line: Line = new Line({
        stream,
        reconnect,
        random,
        abort: (error) => stop.abort(error),
        events: {
          answered: (id, response) => this.#events.answered(line, id, response),
          lost: (id, error) => this.#events.lost(id, error),
          left: (error) => this.#left(line, error),
          closed: () => {
            enough();
            void this.#hangUp(transport);
          },
        },
      });
      events.emit('connected', { bundle, bundleVersion, address: way.address });
      return line;
    } catch (error) {
      enough();
      await this.#hangUp(transport);
      throw error;
    } finally {
      opened?.();
    }
  }

  async #hangUp(transport: Dialled): Promise<void> {
    this.#transports.delete(transport);
    await transport.close();
  }

  #adopt(route: Route, line: Line): void {
    this.#lines.set(line, route);
    this.#downSince = undefined;
    this.#opening?.resolve();
    this.#opening = undefined;
    this.#events.opened();
    if (line.left)
      this.#left(line, line.left); // it broke before it was here
    else if (!this.#routes.has(route.way)) line.leave(goneError(route.way));
  }

  #left(line: Line, error: TransportError): void {
    const route = this.#lines.get(line);
    if (!route || this.#closing.signal.aborted) return;
    const { again, reconnect, replicas, events } = this.#options;
    const now = performance.now();
    this.#lines.delete(line);
    route.lines--;
    if (this.#lines.size === 0) this.#downSince = now;
    events.emit('disconnected', { error, address: route.way.address });
    const useful = line.heard || now - line.since > reconnect.maxDelayMs;
    if (!useful) route.failures++;
    else route.failures = error.code === 'draining' ? 0 : 1; // another cloud is there, or perhaps none for a moment
    if (again) {
      replicas.look();
      this.#rest(route, error);
      this.#keep();
    } else {
      route.failures = 0;
    }
    this.#events.left();
  }

  #failed(route: Route, error: TransportError): void {
    route.failures++;
    route.error = error;
    if (this.#lines.size === 0) this.#judge(error);
    if (this.#options.again && this.#goesOn) {
      this.#options.replicas.look();
      this.#rest(route, error);
    }
    this.#keep();
  }

  /** Whether there is a point in waiting any longer, once every way was tried. */
  #judge(error: TransportError): void {
    const routes = [...this.#routes.values()];
    if (routes.some((route) => !route.error)) return;
    if (this.#opening) {
      this.#opening.reject(error);
      this.#opening = undefined;
      return;
    }
    const { again, reconnect } = this.#options;
    const downMs = performance.now() - (this.#downSince ?? -Infinity);
    const wanted = routes.some((route) => mayRetry(route.error!));
    if (!again || !wanted || downMs > reconnect.patienceMs) this.#events.hopeless(error);
  }

  /** Leaves a way alone after it has failed: so that it is not asked all the time, nor by all at once. */
  #rest(route: Route, error: TransportError): void {
    const { failures, way } = route;
    if (failures === 0 || !this.#routes.has(way)) return;
    const { reconnect, random, events } = this.#options;
    const delayMs = backoff(failures, reconnect, random);
    events.emit('reconnecting', { attempt: failures, delayMs, error, address: way.address });
    clearTimeout(route.timer);
    route.timer = setTimeout(() => {
      delete route.timer;
      this.#keep();
    }, delayMs);
  }
}

/** Whether the same may succeed later or elsewhere. */
export function mayRetry({ code }: TransportError): boolean {
  return errorTable[code].retry;
}

/** Where a name does not lead any more. What is under way is answered still. */
function goneError({ address }: Way): TransportError {
  return new TransportError('draining', `${address} is no longer one of the cloud's addresses`);
}
