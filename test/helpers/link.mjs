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

/** One way. Segments wait for their turn, leave one after another at the rate, and are under way for the latency. */
class Direction {
  delivered = 0;
  #settings = PERFECT;
  #draw;
  /** [{ to, chunk (none: the sender has ended), left: bytes, since }], and their bytes. */
  #waiting = [];
  #waitingBytes = 0;
  /** [{ to, chunk, at }], by `at`. */
  #underWay = [];
  #sources = new Set();
  /** When the last segment had left, and when the last one arrives. */
  #free = 0;
  #last = 0;
  /** Since when something could not pass, in a blackout. */
  #blockedAt;
  #heldUntil = 0;
  #timer;

  constructor(draw) {
    this.#draw = draw;
  }

  relay(from, to) {
    this.#sources.add(from);
    from.on('close', () => this.#sources.delete(from));
    from.on('data', (chunk) => {
      const since = performance.now();
      for (let i = 0; i < chunk.length; i += SEGMENT_BYTES) {
        const part = chunk.subarray(i, i + SEGMENT_BYTES);
        this.#waiting.push({ to, chunk: part, left: part.length, since });
      }
      this.#waitingBytes += chunk.length;
      this.#run();
    });
    from.on('end', () => {
      this.#waiting.push({ to, left: 0, since: performance.now() });
      this.#run();
    });
  }

  set(changes) {
    const now = performance.now();
    const before = this.#settings;
    const [head] = this.#waiting;
    if (head && before.bytesPerSecond < Infinity && this.#passes(now)) {
      const start = Math.max(this.#free, head.since);
      head.left = Math.max(0, head.left - (Math.max(0, now - start) * before.bytesPerSecond) / 1000);
      this.#free = Math.max(this.#free, now);
    }
    this.#settings = { ...before, ...changes };
    const { blackout, latencyMs } = this.#settings;
    if (before.blackout && !blackout) {
      if (this.#blockedAt !== undefined) this.#heldUntil = sentAgainAt(this.#blockedAt, now, latencyMs);
      this.#free = Math.max(this.#free, this.#heldUntil, now);
      this.#blockedAt = undefined;
    }
    this.#run();
  }

  close() {
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#underWay = [];
  }

  #passes(now) {
    return !this.#settings.blackout && now >= this.#heldUntil;
  }

  #run() {
    clearTimeout(this.#timer);
    const now = performance.now();
    if (this.#settings.blackout) {
      if (this.#waiting.length + this.#underWay.length > 0) this.#blockedAt ??= now;
    } else {
      const next = this.#passes(now) ? Math.min(this.#leave(now), this.#arrive(now)) : this.#heldUntil;
      if (next < Infinity) this.#timer = setTimeout(() => this.#run(), Math.max(0, next - now));
    }
    const { bufferBytes } = this.#settings;
    for (const source of this.#sources) {
      if (this.#waitingBytes >= bufferBytes) source.pause();
      else if (source.isPaused()) source.resume();
    }
  }

  /** Sends what has had its time; returns when the next will have. */
  #leave(now) {
    const { bytesPerSecond, latencyMs, jitterMs, loss } = this.#settings;
    for (;;) {
      const [head] = this.#waiting;
      if (!head) return Infinity;
      const left = Math.max(this.#free, head.since) + (1000 * head.left) / bytesPerSecond;
      if (left > now) return left;
      this.#free = left;
      this.#waiting.shift();
      this.#waitingBytes -= head.chunk?.length ?? 0;
      const lost = this.#draw() < loss ? LEAST_RTO_MS + 2 * latencyMs : 0;
      const delay = latencyMs - jitterMs * Math.log(1 - this.#draw()) + lost;
      this.#last = Math.max(this.#last, left + delay);
      this.#underWay.push({ ...head, at: this.#last });
    }
  }

  /** Delivers what has arrived; returns when the next does. */
  #arrive(now) {
    while (this.#underWay.length > 0) {
      const { to, chunk, at } = this.#underWay[0];
      if (at > now) return at;
      this.#underWay.shift();
      if (to.writable) {
        if (chunk) to.write(chunk);
        else to.end();
      }
      this.delivered += chunk?.length ?? 0;
    }
    return Infinity;
  }
}
