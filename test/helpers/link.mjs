// A slow, far, broken link: a TCP relay on loopback. `tc netem` would need a network namespace of its own and its privileges.
import { connect, createServer } from 'node:net';
import { random } from './random.mjs';

/** A link without a fault. Per direction: */
const PERFECT = {
  /** One way, ms. */
  latencyMs: 0,
  /** Mean of the exponential time that comes on top; the order stays. */
  jitterMs: 0,
  /** Of all connections together. */
  bytesPerSecond: Infinity,
  /** What waits for its turn, as in a router; more is left with the sender. */
  bufferBytes: 65_536,
  /** Share of the segments that are lost: to the receiver a stall, until it was sent again. */
  loss: 0,
  /** Nothing passes; connections stay. */
  blackout: false,
};

const SEGMENT_BYTES = 1448; // an Ethernet frame less the headers of IP and TCP
const LEAST_RTO_MS = 200; // TCP's on Linux

/**
 * When TCP sends again what it could not send at `blockedAt` on a link that is back at `backAt`, ms: after a timeout that doubles
 * (RFC 6298, 5.5), not when the link is back.
 */
export function sentAgainAt(blockedAt, backAt, latencyMs) {
  let timeout = LEAST_RTO_MS + 2 * latencyMs;
  let at = blockedAt + timeout;
  while (at < backAt) at += timeout *= 2;
  return at;
}

/**
 * Starts a link to `port` on this machine.
 * @param settings { up, down, schedule, seed }: up and down as in PERFECT; schedule: [{ at: ms, up, down }], changes from then on
 * @returns { address, bytes: { up, down } delivered, set({ up, down }), cut(): connections are reset, close() }
 */
export async function startLink(port, { up = {}, down = {}, schedule = [], seed = 1 } = {}) {
  const draw = random(seed);
  const directions = { up: new Direction(draw), down: new Direction(draw) };
  const set = (changes) => {
    for (const name of ['up', 'down']) directions[name].set(changes[name] ?? {});
  };
  set({ up, down });
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const target = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', (failed) => {
        sockets.delete(socket);
        if (failed) for (const end of [client, target]) end.destroy();
      });
    }
    directions.up.relay(client, target);
    directions.down.relay(target, client);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const timers = schedule.map(({ at, ...changes }) => setTimeout(() => set(changes), at));
  return {
    address: `127.0.0.1:${server.address().port}`,
    get bytes() {
      return { up: directions.up.delivered, down: directions.down.delivered };
    },
    set,
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    async close() {
      timers.forEach(clearTimeout);
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      for (const direction of Object.values(directions)) direction.close();
      await closed;
    },
  };
}

/**
 * One way of the link, for all connections. Segments wait for their turn, leave one after another at the rate, and are under way for the
 * latency. What a blackout stopped goes on when that connection's TCP tries again; a new connection does not wait for it.
 */
class Direction {
  delivered = 0;
  #settings = PERFECT;
  #draw;
  /** In their order: { pipe, chunk (none: the sender has ended), left: bytes, since }, and their bytes. */
  #waiting = [];
  #waitingBytes = 0;
  /** { pipe, chunk, at } */
  #underWay = [];
  /** { from, to, last: when its last segment arrives, blockedAt, heldUntil } */
  #pipes = new Set();
  /** When the last segment had left. */
  #free = 0;
  #timer;

  constructor(draw) {
    this.#draw = draw;
  }

  relay(from, to) {
    const pipe = { from, to, last: 0, blockedAt: undefined, heldUntil: 0 };
    this.#pipes.add(pipe);
    from.on('close', () => this.#pipes.delete(pipe));
    from.on('data', (chunk) => {
      for (let i = 0; i < chunk.length; i += SEGMENT_BYTES)
        this.#take(pipe, chunk.subarray(i, i + SEGMENT_BYTES));
      this.#run();
    });
    from.on('end', () => {
      this.#take(pipe);
      this.#run();
    });
  }

  set(changes) {
    const now = performance.now();
    const before = this.#settings;
    const head = this.#next(now);
    if (head && !before.blackout && before.bytesPerSecond < Infinity) {
      const start = Math.max(this.#free, head.since);
      head.left = Math.max(0, head.left - (Math.max(0, now - start) * before.bytesPerSecond) / 1000);
      this.#free = Math.max(this.#free, now);
    }
    this.#settings = { ...before, ...changes };
    const { blackout, latencyMs } = this.#settings;
    if (!before.blackout && blackout) {
      for (const { pipe } of [...this.#waiting, ...this.#underWay]) pipe.blockedAt = now;
    } else if (before.blackout && !blackout) {
      this.#free = now;
      for (const pipe of this.#pipes) {
        if (pipe.blockedAt !== undefined) pipe.heldUntil = sentAgainAt(pipe.blockedAt, now, latencyMs);
        pipe.blockedAt = undefined;
      }
    }
    this.#run();
  }

  close() {
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#underWay = [];
  }

  #take(pipe, chunk) {
    const since = performance.now();
    if (this.#settings.blackout) pipe.blockedAt ??= since;
    this.#waiting.push({ pipe, chunk, left: chunk?.length ?? 0, since });
    this.#waitingBytes += chunk?.length ?? 0;
  }

  /** The segment whose turn it is. */
  #next(now) {
    return this.#waiting.find(({ pipe }) => pipe.heldUntil <= now);
  }

  #run() {
    clearTimeout(this.#timer);
    const now = performance.now();
    if (!this.#settings.blackout) {
      const next = Math.min(this.#leave(now), this.#arrive(now));
      if (next < Infinity) this.#timer = setTimeout(() => this.#run(), Math.max(0, next - now));
    }
    for (const { from } of this.#pipes) {
      if (this.#waitingBytes >= this.#settings.bufferBytes) from.pause();
      else if (from.isPaused()) from.resume();
    }
  }

  /** Sends what has had its time; returns when there is more to do. */
  #leave(now) {
    const { bytesPerSecond, latencyMs, jitterMs, loss } = this.#settings;
    for (let head = this.#next(now); head; head = this.#next(now)) {
      const { pipe, chunk, left, since } = head;
      const gone = Math.max(this.#free, since, pipe.heldUntil) + (1000 * left) / bytesPerSecond;
      if (gone > now) return gone;
      this.#free = gone;
      this.#waiting.splice(this.#waiting.indexOf(head), 1);
      this.#waitingBytes -= chunk?.length ?? 0;
      const lost = this.#draw() < loss ? LEAST_RTO_MS + 2 * latencyMs : 0;
      pipe.last = Math.max(pipe.last, gone + latencyMs - jitterMs * Math.log(1 - this.#draw()) + lost);
      this.#underWay.push({ pipe, chunk, at: pipe.last });
    }
    return Math.min(...this.#waiting.map(({ pipe }) => pipe.heldUntil));
  }

  /** Delivers what has arrived; returns when the next does. */
  #arrive(now) {
    const here = this.#underWay.filter((segment) => due(segment) <= now);
    this.#underWay = this.#underWay.filter((segment) => due(segment) > now);
    for (const { pipe, chunk } of here) {
      if (pipe.to.writable) {
        if (chunk) pipe.to.write(chunk);
        else pipe.to.end();
      }
      this.delivered += chunk?.length ?? 0;
    }
    return Math.min(...this.#underWay.map(due));
  }
}

const due = ({ pipe, at }) => Math.max(at, pipe.heldUntil);
