/** What the queue needs to know of a request. */
export interface Queued {
  /** The model that it is for; a batch has one. */
  readonly model: string;
  /** Whose it is, for fairness. */
  readonly caller: string;
  /** 0: normal; 1: background, served from what is left and shed first. */
  readonly priority: 0 | 1;
  /** Of its payload. */
  readonly bytes: number;
}

export interface QueueLimits {
  /** Requests that wait, at most. */
  readonly maxQueue: number;
  /** Payload bytes of those, at most. */
  readonly maxQueueBytes: number;
}

/** The limit that a full queue has reached. */
export type Full = 'requests' | 'bytes';

/** One caller's waiting requests for one model at one priority, oldest first. */
class Flow<T extends Queued> {
  readonly requests = new Set<T>();
  bytes = 0;

  weight(measure: Full): number {
    return measure === 'bytes' ? this.bytes : this.requests.size;
  }
}

/** By caller, in the order of their turns. */
type Flows<T extends Queued> = Map<string, Flow<T>>;

/** One model's waiting requests. */
interface Lane<T extends Queued> {
  /** Index: the priority. */
  readonly flows: readonly [Flows<T>, Flows<T>];
  requests: number;
}

/**
 * The one owner of the waiting requests. Callers take turns, so that whoever sends more waits longer. In a full queue
 * whoever has the most gives way, so that nobody can keep others out.
 */
export class RequestQueue<T extends Queued> {
  readonly #limits: QueueLimits;
  /** By model, in the order of their turns. */
  readonly #lanes = new Map<string, Lane<T>>();
  #requests = 0;
  #bytes = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get requests(): number {
    return this.#requests;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a request, or names the limit in its way. Others that give way for it are handed to `shed`. */
  push(request: T, shed: (other: T) => void): Full | undefined {
    for (let full = this.#full(request); full; full = this.#full(request)) {
      const victim = this.#victim(request, full);
      if (!victim) return full;
      this.remove(victim);
      shed(victim);
    }
    this.#add(request);
    return undefined;
  }

  /** Takes a request out, which may have left already. */
  remove(request: T): void {
    const { model, caller, priority, bytes } = request;
    const lane = this.#lanes.get(model);
    const flow = lane?.flows[priority].get(caller);
    if (!lane || !flow?.requests.delete(request)) return;
    flow.bytes -= bytes;
    if (flow.requests.size === 0) lane.flows[priority].delete(caller);
    this.#left(model, lane, 1, bytes);
  }

  /** Models with waiting requests and how many; first those with normal requests, in the order of their turns. */
  *waiting(): IterableIterator<[model: string, requests: number]> {
    for (const [model, { flows, requests }] of this.#lanes) if (flows[0].size > 0) yield [model, requests];
    for (const [model, { flows, requests }] of this.#lanes) if (flows[0].size === 0) yield [model, requests];
  }

  /** A model's waiting requests. */
  *of(model: string): IterableIterator<T> {
    for (const flows of this.#lanes.get(model)?.flows ?? []) {
      for (const { requests } of flows.values()) yield* requests;
    }
  }

  /** Takes out up to `max` requests of a model: normal ones first, and one of each caller in turn. */
  cut(model: string, max: number): T[] {
    const lane = this.#lanes.get(model);
    const batch: T[] = [];
    if (!lane) return batch;
    let bytes = 0;
    for (const flows of lane.flows) {
      while (flows.size > 0 && batch.length < max) {
        const [[caller, flow]] = flows as Iterable<[string, Flow<T>]> as [[string, Flow<T>]];
        flows.delete(caller);
        let turn = flows.size > 0 ? 1 : max - batch.length; // alone, it takes all of them at once
        for (const request of flow.requests) {
          flow.requests.delete(request);
          flow.bytes -= request.bytes;
          bytes += request.bytes;
          batch.push(request);
          if (--turn === 0) break;
        }
        if (flow.requests.size > 0) flows.set(caller, flow); // behind the others
      }
    }
    this.#lanes.delete(model);
    this.#lanes.set(model, lane); // behind the others
    this.#left(model, lane, batch.length, bytes);
    return batch;
  }

  /** How many requests of which model are served before a new one, with callers taking turns. */
  *ahead({ model, caller, priority }: Queued): IterableIterator<[model: string, requests: number]> {
    const own = this.#lanes.get(model)?.flows[priority].get(caller)?.requests.size ?? 0;
    for (const [of, { flows }] of this.#lanes) {
      let count = 0;
      if (priority === 1) for (const { requests } of flows[0].values()) count += requests.size;
      for (const { requests } of flows[priority].values()) count += Math.min(requests.size, own + 1);
      yield [of, count];
    }
  }

  #full({ bytes }: T): Full | undefined {
    if (this.#requests >= this.#limits.maxQueue) return 'requests';
    if (this.#bytes + bytes > this.#limits.maxQueueBytes) return 'bytes';
    return undefined;
  }

  /** The newest request of whoever has the most: of background requests first, and never of a smaller one than its own. */
  #victim(request: T, full: Full): T | undefined {
    const { model, caller, priority } = request;
    const background = this.#heaviest(1, full);
    if (priority === 0 && background) return newest(background);
    const heaviest = priority === 1 ? background : this.#heaviest(0, full);
    const own = this.#lanes.get(model)?.flows[priority].get(caller)?.weight(full) ?? 0;
    const added = full === 'bytes' ? request.bytes : 1;
    return heaviest && heaviest.weight(full) > own + added ? newest(heaviest) : undefined;
  }

  #heaviest(priority: 0 | 1, measure: Full): Flow<T> | undefined {
    let heaviest: Flow<T> | undefined;
    for (const { flows } of this.#lanes.values()) {
      for (const flow of flows[priority].values()) {
        if (!heaviest || flow.weight(measure) > heaviest.weight(measure)) heaviest = flow;
      }
    }
    return heaviest;
  }

  #add(request: T): void {
    const { model, caller, priority, bytes } = request;
    let lane = this.#lanes.get(model);
    if (!lane) this.#lanes.set(model, (lane = { flows: [new Map(), new Map()], requests: 0 }));
    let flow = lane.flows[priority].get(caller);
    if (!flow) lane.flows[priority].set(caller, (flow = new Flow()));
    flow.requests.add(request);
    flow.bytes += bytes;
    lane.requests++;
    this.#requests++;
    this.#bytes += bytes;
  }

  #left(model: string, lane: Lane<T>, requests: number, bytes: number): void {
    lane.requests -= requests;
    if (lane.requests === 0) this.#lanes.delete(model);
    this.#requests -= requests;
    this.#bytes -= bytes;
  }
}

function newest<T extends Queued>({ requests }: Flow<T>): T | undefined {
  let last: T | undefined;
  for (const request of requests) last = request;
  return last;
}
