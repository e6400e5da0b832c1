import { status, type sendUnaryData, type ServerUnaryCall, type ServerWritableStream } from '@grpc/grpc-js';

// Not grpc-health-check's own implementation: its watches outlive NOT_SERVING, and each would hold up a drain.

export type HealthStatus = 'SERVING' | 'NOT_SERVING';

interface Check {
  readonly service: string;
}

interface Answer {
  readonly status: HealthStatus | 'SERVICE_UNKNOWN';
}

type Watch = ServerWritableStream<Check, Answer>;

export interface HealthHandlers {
  readonly check: (call: ServerUnaryCall<Check, Answer>, reply: sendUnaryData<Answer>) => void;
  readonly list: (call: ServerUnaryCall<object, object>, reply: sendUnaryData<object>) => void;
  readonly watch: (call: Watch) => void;
}

/** grpc.health.v1: one status for each service name. The empty name is SERVING when all others are. */
export class Health {
  readonly #statuses = new Map<string, HealthStatus>();
  readonly #watches = new Map<Watch, Answer['status'] | undefined>(); // and what each was told
  #ended = false;

  /** `undefined` forgets the service. */
  set(service: string, now: HealthStatus | undefined): void {
    if (now) this.#statuses.set(service, now);
    else this.#statuses.delete(service);
    for (const watch of this.#watches.keys()) this.#tell(watch);
  }

  get(service: string): HealthStatus | undefined {
    const own = this.#statuses.get(service);
    if (own && this.#ended) return 'NOT_SERVING';
    if (own || service !== '') return own;
    const all = [...this.#statuses.values()];
    return !this.#ended && all.length > 0 && !all.includes('NOT_SERVING') ? 'SERVING' : 'NOT_SERVING';
  }

  /** Nothing is SERVING from here on, and whoever watches is told so and sent away. */
  end(): void {
    this.#ended = true;
    for (const watch of this.#watches.keys()) {
      this.#tell(watch);
      watch.end();
    }
  }

  readonly handlers: HealthHandlers = {
    check: (call, reply) => {
      const now = this.get(call.request.service);
      if (now) reply(null, { status: now });
      else reply({ code: status.NOT_FOUND, details: `no service "${call.request.service}" here` });
    },
    list: (_, reply) => {
      const names = ['', ...this.#statuses.keys()];
      reply(null, { statuses: Object.fromEntries(names.map((name) => [name, { status: this.get(name) }])) });
    },
    watch: (call) => {
      this.#watches.set(call, undefined);
      call.on('cancelled', () => this.#watches.delete(call)); // at the end of every call
      this.#tell(call);
      if (this.#ended) call.end();
    },
  };

  #tell(watch: Watch): void {
    const now = this.get(watch.request.service) ?? 'SERVICE_UNKNOWN';
    // One that does not read is told the newest once it does.
    if (watch.writableNeedDrain || this.#watches.get(watch) === now) return;
    this.#watches.set(watch, now);
    if (!watch.write({ status: now })) watch.once('drain', () => this.#tell(watch));
  }
}
