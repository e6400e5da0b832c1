import {
  TransportError,
  type InferContext,
  type InferRequest,
  type LaterSlices,
  type Result,
  type TransportErrorCode,
} from '@raccoon/transport';
import { remoteModel, type BackendTarget } from './backend-target.ts';
import { ripeAt, type BatchLimits } from './batching.ts';
import type { Model, ModelHost } from './model.ts';
import type { Observer } from './observer.ts';
import { RequestQueue, type Full, type QueueLimits, type Queued } from './queue.ts';
import { ServiceTime, smooth } from './service-time.ts';
import { Usage } from './usage.ts';
import type { BatchDone, BatchFailed, BatchItem, ModelFiles } from './worker-frames.ts';
import { EMBEDDED, WorkerPool } from './worker-pool.ts';
import type { Batch, Death, WorkerProcess } from './worker-process.ts';

export interface PipelineLimits extends QueueLimits, BatchLimits {
  /** How long a request waits for a worker, ms; then it is refused. */
  readonly maxQueueMs: number;
  /** How long a worker may take for a batch, ms; then it is killed and replaced. */
  readonly maxBatchMs: number;
  /** How long an image waits for its client's next slice, ms; then it is refused. */
  readonly maxSliceMs: number;
}

export interface PipelineOptions {
  readonly limits: PipelineLimits;
  readonly workers: number;
  /** Of one inference; workers x threads should not be more than the processors. */
  readonly threads: number;
  readonly observer: Observer;
  /** Who runs the networks; default: the workers. */
  readonly backend?: PipelineBackend | undefined;
}

/** Another server that runs the networks. */
export interface PipelineBackend {
  readonly target: BackendTarget;
  /** For a batch, ms. */
  readonly timeoutMs: number;
  /** Batches of one worker that it has at a time. */
  readonly batches: number;
}

/** What an image in slices still lacks, and when it can do without. */
export interface Rest {
  /** Slices of the whole image. */
  readonly sliceCount: number;
  /** From this margin on its answer is good enough; not above 0: all slices, or no answer. */
  readonly stopMargin: number;
  readonly later: LaterSlices;
}

/** An image to classify. */
export interface Job extends BatchItem {
  readonly model: Model;
  /** Those that are there; the pipeline adds what it asks `rest` for. */
  readonly slices: Uint8Array[];
  /** Absent: the image is complete. */
  readonly rest?: Rest;
  /** Whose it is, for fairness. */
  readonly caller: string;
  /** 1: background, served from what is left and shed first. */
  readonly priority: 0 | 1;
  /** From now on, ms; 0: none. */
  readonly timeoutMs: number;
  /** Aborted: nobody needs the answer. */
  readonly signal: InferContext['signal'];
}

/** Why there is no result. */
export interface Refusal {
  readonly code: TransportErrorCode;
  readonly message: string;
  /** What exactly, where the code leaves it open. */
  readonly reason: string;
  /** ms; 0: no advice. */
  readonly retryAfterMs: number;
}

/** How a job ended. Times in ms, of all runs of an image that came in slices. */
export interface Outcome {
  readonly result?: Result;
  /** When there is no result. */
  readonly refusal?: Refusal;
  readonly queueMs: number;
  readonly decodeMs: number;
  readonly inferMs: number;
}

/** What the pipeline is doing, for readiness, metrics and load reports. */
export interface PipelineStats {
  /** Requests that wait for a worker. */
  readonly waiting: number;
  /** Payload bytes of those. */
  readonly bytes: number;
  /** How long the oldest of them has waited, ms. */
  readonly oldestMs: number;
  /** Requests that a worker has. */
  readonly inFlight: number;
  /** Images that wait for their client's next slice. */
  readonly incomplete: number;
  /** Bytes of their slices. */
  readonly incompleteBytes: number;
  /** Workers that are ready. */
  readonly workers: number;
  /** What these workers can do, as measured lately; 0: not known yet. */
  readonly imagesPerSecond: number;
  /** Share of their time in which they worked, of late. */
  readonly utilisation: number;
}

/** A full batch is handed to a worker that has about this much left to do, ms: early enough that it never waits. */
const LEAD_MS = 4;
/** What a refused client is told to wait before anything was measured, ms. */
const RETRY_MS = 100;
/** Timers take no more, ms: 24 days; a client may say 49. */
const MAX_TIMER_MS = 0x7fff_ffff;

/** A model in the workers. */
interface Loaded {
  readonly model: Model;
  /** What the workers call it. */
  readonly number: number;
  readonly time: ServiceTime;
  /** Requests without an answer. */
  open: number;
  /** Requests that were given up while they waited, since the last batch. */
  dropped: number;
  /** Called when the last of them is answered. */
  onIdle: (() => void) | undefined;
}

/** A job on its way. Times are `performance.now()`, ms. */
class Request implements Queued {
  readonly job: Job;
  readonly loaded: Loaded;
  readonly deadline: number;
  readonly resolve: (outcome: Outcome) => void;
  readonly onAbort: () => void;
  /** `waiting` for a worker, `incomplete`: for its client. */
  state: 'incomplete' | 'waiting' | 'running' | 'answered' = 'waiting';
  bytes: number;
  /** In the queue, for the last time. */
  arrivedAt: number;
  /** When it is given up. */
  expiresAt: number;
  /** When its batch was cut. */
  cutAt = 0;
  /** Workers that died while they ran it. */
  deaths = 0;
  /** Of its runs so far. */
  queueMs = 0;
  decodeMs = 0;
  inferMs = 0;

  constructor(job: Job, loaded: Loaded, now: number, resolve: Request['resolve'], onAbort: () => void) {
    this.job = job;
    this.loaded = loaded;
    this.bytes = job.slices.reduce((sum, { length }) => sum + length, 0);
    this.arrivedAt = now;
    this.deadline = job.timeoutMs > 0 ? now + job.timeoutMs : Infinity;
    this.expiresAt = this.deadline;
    this.resolve = resolve;
    this.onAbort = onAbort;
  }

  get model(): string {
    return this.loaded.model.key;
  }

  get caller(): string {
    return this.job.caller;
  }

  get priority(): 0 | 1 {
    return this.job.priority;
  }
}

interface RequestBatch extends Batch {
  readonly loaded: Loaded;
  readonly requests: readonly Request[];
  readonly dropped: number;
}

/** queue -> batch -> workers -> answer: everything behind the door. */
export class Pipeline implements ModelHost {
  readonly #limits: PipelineLimits;
  readonly #observer: Observer;
  readonly #queue: RequestQueue<Request>;
  /** Waiting for their clients: the same limits and the same fairness, but apart, so that they keep nobody out. */
  readonly #incomplete: RequestQueue<Request>;
  readonly #pool: WorkerPool<RequestBatch>;
  readonly #backend: PipelineBackend | undefined;
  /** Batches that a worker has under way at a time. */
  readonly #slots: number;
  readonly #models = new Map<string, Loaded>();
  /** Without an answer, in the order of their arrival. */
  readonly #open = new Set<Request>();
  /** What workers had when they died, to be run before anything else. A suspect is alone in its batch. */
  readonly #again: Request[][] = [];
  #numbers = 0;
  #stopped = false;
  #broken: string | undefined;
  /** ms of one worker for one image, of late. */
  #msPerImage = 0;
  readonly #usage = new Usage();
  #dispatching = false;
  #dispatchTimer: NodeJS.Timeout | undefined;
  #expiryTimer: NodeJS.Timeout | undefined;
  #expiryAt = Infinity;

  constructor({ limits, workers, threads, observer, backend }: PipelineOptions) {
    this.#limits = limits;
    this.#observer = observer;
    this.#queue = new RequestQueue(limits);
    this.#incomplete = new RequestQueue(limits);
    const kind = backend ? ({ program: 'backend-worker', slots: backend.batches } as const) : EMBEDDED;
    this.#backend = backend;
    this.#slots = kind.slots;
    this.#pool = new WorkerPool(
      { workers, kind, threads, maxBatchMs: limits.maxBatchMs },
      {
        ready: (worker) => {
          this.#broken = undefined;
          observer.worker('started', worker.id);
          this.#dispatch();
        },
        done: (worker, batch, outcome) => this.#done(worker, batch, outcome),
        died: (worker, batches, death) => {
          this.#runAgain(batches, death);
          observer.worker('died', worker.id);
          this.#dispatch();
        },
        retired: (worker) => observer.worker('retired', worker.id),
        broken: (why) => {
          this.#broken = why;
          this.#refuseWaiting(`this cloud cannot start a worker: ask another (${why})`);
        },
      },
    );
  }

  /** Starts the workers. @throws Error when one of them cannot; then none is left */
  start(): Promise<void> {
    return this.#pool.start();
  }

  /** Why nothing can be served; workers that die are replaced, so it may end by itself. */
  get trouble(): string | undefined {
    return this.#stopped ? 'the workers have been stopped' : this.#broken;
  }

  get stats(): PipelineStats {
    const now = performance.now();
    let inFlight = 0;
    let waiting = 0;
    let oldestMs = 0;
    for (const { state, arrivedAt } of this.#open) {
      if (state === 'running') inFlight++;
      if (state !== 'waiting') continue;
      waiting++;
      oldestMs = Math.max(oldestMs, now - arrivedAt);
    }
    const workers = this.#pool.ready.size;
    return {
      waiting,
      bytes: this.#queue.bytes,
      oldestMs,
      inFlight,
      incomplete: this.#incomplete.requests,
      incompleteBytes: this.#incomplete.bytes,
      workers,
      imagesPerSecond: this.#msPerImage > 0 ? (1000 * workers * this.#slots) / this.#msPerImage : 0,
      utilisation: this.#usage.share(now, workers * this.#slots),
    };
  }

  async load(model: Model): Promise<void> {
    const number = this.#numbers++;
    await this.#pool.load(number, await filesOf(model, this.#backend));
    const time = new ServiceTime(this.#limits.maxBatch);
    this.#models.set(model.key, { model, number, time, open: 0, dropped: 0, onIdle: undefined });
  }

  async unload(key: string): Promise<void> {
    const loaded = this.#models.get(key);
    if (!loaded) return;
    if (loaded.open > 0) {
      await new Promise<void>((resolve) => {
        loaded.onIdle = resolve;
      });
    }
    this.#models.delete(key);
    this.#pool.unload(loaded.number);
  }

  /** Never rejects. */
  infer(job: Job): Promise<Outcome> {
    return new Promise((resolve) => {
      const now = performance.now();
      const loaded = this.#models.get(job.model.key);
      const trouble = loaded ? this.trouble : `no worker has ${job.model.key}`;
      if (!loaded || trouble) return resolve(refused('unavailable', `${trouble}: ask another cloud`));
      if (job.signal.aborted) return resolve(CANCELLED);

      const onAbort = (): void => this.#settle(request, CANCELLED);
      const request = new Request(job, loaded, now, resolve, onAbort);
      const full = runsWithWhatIsThere(job)
        ? this.#awaitWorker(request, now)
        : this.#awaitSlice(request, now);
      if (full) return resolve(this.#overloaded(full));
      this.#open.add(request);
      loaded.open++;
      job.signal.addEventListener('abort', onAbort);
    });
  }

  /**
   * Refuses what waits, lets workers finish what they have and ends them.
   * @param graceMs then they are killed; without it, as long as a batch may take
   */
  async stop(graceMs?: number): Promise<void> {
    this.#stopped = true;
    this.#refuseWaiting(SHUTTING_DOWN);
    await this.#pool.stop(graceMs);
    clearTimeout(this.#dispatchTimer);
    clearTimeout(this.#expiryTimer);
  }

  /** Puts a request into the queue, or names the limit in its way. */
  #awaitWorker(request: Request, now: number): Full | 'age' | undefined {
    request.arrivedAt = now;
    const full = this.#tooLate(request) ? 'age' : this.#queue.push(request, (other) => this.#shed(other));
    if (full) return full;
    request.state = 'waiting';
    this.#expireAt((request.expiresAt = Math.min(request.deadline, now + this.#limits.maxQueueMs)), now);
    this.#dispatchSoon();
    return undefined;
  }

  /**
   * Keeps a request until its client's next slice is there, or names the limit in its way.
   * @param margin what to tell the client when it is to be asked
   */
  #awaitSlice(request: Request, now: number, margin?: number): Full | undefined {
    const full = this.#incomplete.push(request, (other) => this.#shed(other));
    if (full) return full;
    request.state = 'incomplete';
    this.#expireAt((request.expiresAt = Math.min(request.deadline, now + this.#limits.maxSliceMs)), now);
    request.job.rest!.later.next(margin).then(
      (slice) => this.#take(request, slice),
      (error) => {
        const { code, message } = TransportError.from(error);
        this.#settle(request, refused(code, message, 'slices'));
      },
    );
    return undefined;
  }

  #take(request: Request, { payload, moreSlices = false }: InferRequest): void {
    if (request.state !== 'incomplete') return;
    this.#incomplete.remove(request);
    const { job } = request;
    const { sliceCount } = job.rest!;
    const count = job.slices.push(payload);
    request.bytes += payload.length;
    if (moreSlices !== count < sliceCount) {
      const message = `${moreSlices ? 'more than ' : ''}${count} slices of an image that says it has ${sliceCount}`;
      this.#settle(request, refused('bad-request', message, 'slices'));
      return;
    }
    const now = performance.now();
    const full = runsWithWhatIsThere(job) ? this.#awaitWorker(request, now) : this.#awaitSlice(request, now);
    if (full) this.#settle(request, this.#overloaded(full));
  }

  /** In the next turn of the event loop: what this one has still to deliver comes along in the batch. */
  #dispatchSoon(): void {
    if (this.#dispatching) return;
    this.#dispatching = true;
    setImmediate(() => {
      this.#dispatching = false;
      this.#dispatch();
    });
  }

  /** Gives workers what is due: whatever is ripe to the idle ones, full batches to those that are nearly done. */
  #dispatch(): void {
    clearTimeout(this.#dispatchTimer);
    const now = performance.now();
    let lookAt = Infinity;
    // a first batch for everybody before anybody gets a second
    for (let slot = 0; slot < this.#slots; slot++) {
      for (const worker of this.#pool.ready) {
        if (worker.batches.length === slot) lookAt = Math.min(lookAt, this.#feedIdle(worker, now));
      }
    }
    if (this.#slots === 1 && this.#queue.requests >= this.#limits.maxBatch) {
      for (const worker of this.#pool.ready) {
        const [running, next] = worker.batches;
        if (!running || next) continue;
        const ms = running.loaded.time.batch(running.items.length);
        if (ms === 0) continue; // the first batch of its model
        const nearlyDone = worker.busySince + ms - LEAD_MS;
        if (nearlyDone > now) lookAt = Math.min(lookAt, nearlyDone);
        else this.#feedBusy(worker, now);
      }
    }
    if (lookAt < Infinity) {
      this.#dispatchTimer = setTimeout(() => this.#dispatch(), Math.max(1, Math.ceil(lookAt - now)));
    }
  }

  /** @returns when to look again, if there was nothing to do now */
  #feedIdle(worker: WorkerProcess<RequestBatch>, now: number): number {
    for (let again = this.#again.shift(); again; again = this.#again.shift()) {
      if (this.#run(worker, again, now)) return Infinity;
    }
    let lookAt = Infinity;
    for (const [model, waiting] of this.#queue.waiting()) {
      const serviceMs = this.#models.get(model)!.time.batch(waiting);
      const due = ripeAt(this.#queue.of(model), waiting, serviceMs, this.#limits);
      if (due > now) lookAt = Math.min(lookAt, due);
      else if (this.#run(worker, this.#queue.cut(model, this.#limits.maxBatch), now)) return Infinity;
    }
    return lookAt;
  }

  #feedBusy(worker: WorkerProcess<RequestBatch>, now: number): void {
    for (const [model, waiting] of this.#queue.waiting()) {
      if (waiting < this.#limits.maxBatch) continue;
      if (this.#run(worker, this.#queue.cut(model, this.#limits.maxBatch), now)) return;
    }
  }

  /** Has a worker run those that are still wanted; false if none is. */
  #run(worker: WorkerProcess<RequestBatch>, cut: readonly Request[], now: number): boolean {
    const requests: Request[] = [];
    for (const request of cut) {
      if (request.expiresAt <= now) this.#giveUp(request, now);
      else if (request.state === 'waiting') requests.push(request);
    }
    const [first] = requests;
    if (!first) return false;
    for (const request of requests) {
      request.state = 'running';
      request.cutAt = now;
      request.expiresAt = request.deadline;
    }
    const { loaded } = first;
    const { dropped, number } = loaded;
    loaded.dropped = 0;
    worker.run({ model: number, loaded, requests, dropped, items: requests.map(({ job }) => job) });
    return true;
  }

  #done(worker: WorkerProcess<RequestBatch>, batch: RequestBatch, outcome: BatchDone | BatchFailed): void {
    const { requests, loaded, dropped } = batch;
    if (outcome.kind === 'failed') {
      this.#dispatch();
      const { code, message, reason } = outcome;
      const retryAfterMs = code === 'overloaded' ? RETRY_MS : 0;
      for (const request of requests) this.#settle(request, refused(code, message, reason, retryAfterMs));
      return;
    }
    const { outcomes, decodeMs, inferMs, retries } = outcome;
    loaded.time.observe(requests.length, decodeMs + inferMs);
    this.#msPerImage = smooth(this.#msPerImage, (decodeMs + inferMs) / requests.length);
    this.#usage.add(performance.now(), decodeMs + inferMs);
    this.#dispatch(); // before the answers, so that the worker does not wait for them
    for (const [i, request] of requests.entries()) {
      if (request.state !== 'running') continue; // nobody needs it any more
      const { result, fault } = outcomes[i]!;
      request.queueMs += request.cutAt - request.arrivedAt;
      request.decodeMs += decodeMs;
      request.inferMs += inferMs;
      if (result && isUnsure(request.job, result)) {
        const full = this.#awaitSlice(request, performance.now(), result.margin);
        if (full) this.#settle(request, this.#overloaded(full));
        continue;
      }
      const times = { queueMs: request.queueMs, decodeMs: request.decodeMs, inferMs: request.inferMs };
      if (result) this.#settle(request, { result, ...times });
      else
        this.#settle(request, {
          refusal: refusal(fault.code, fault.message, fault.reason),
          ...times,
        });
    }
    if (this.#stopped) this.#refuseWaiting(SHUTTING_DOWN); // whatever its client has still to send
    this.#observer.batch({
      model: loaded.model.key,
      worker: worker.id,
      images: requests.length,
      dropped,
      decodeMs,
      inferMs,
      retries,
    });
  }

  /**
   * Only a dead worker's first batches ran, one for each slot. Any of its requests may have killed it, so each of them gets one more
   * worker, alone; what kills that one, too, is not tried again.
   */
  #runAgain(batches: readonly RequestBatch[], { how, message }: Death): void {
    const now = performance.now();
    for (const request of batches.slice(0, this.#slots).flatMap(({ requests }) => requests)) {
      if (request.state !== 'running') continue;
      if (this.#stopped || (++request.deaths > 1 && how === 'killed')) {
        this.#settle(request, refused('unavailable', `its worker ended (${message}): send it again`));
      } else if (request.deaths > 1) {
        this.#settle(
          request,
          refused('internal', `two workers ended while they ran it (${message})`, 'poison'),
        );
      } else {
        this.#again.push([this.#requeue(request, now)]);
      }
    }
    for (const { requests } of batches.slice(this.#slots)) {
      this.#again.push(
        requests.filter(({ state }) => state === 'running').map((request) => this.#requeue(request, now)),
      );
    }
    if (this.#stopped) this.#refuseWaiting(SHUTTING_DOWN);
  }

  #requeue(request: Request, now: number): Request {
    request.state = 'waiting';
    request.expiresAt = Math.min(request.deadline, now + this.#limits.maxQueueMs);
    this.#expireAt(request.expiresAt, now);
    return request;
  }

  #settle(request: Request, outcome: Outcome): void {
    if (request.state === 'answered') return;
    const { loaded, job } = request;
    if (request.state === 'waiting') {
      this.#queue.remove(request);
      loaded.dropped++;
    }
    if (request.state === 'incomplete') this.#incomplete.remove(request);
    request.state = 'answered';
    this.#open.delete(request);
    job.signal.removeEventListener('abort', request.onAbort);
    request.resolve(outcome);
    if (--loaded.open === 0) loaded.onIdle?.();
  }

  #refuseWaiting(message: string): void {
    for (const request of this.#open) {
      if (request.state !== 'running') this.#settle(request, refused('unavailable', message));
    }
  }

  #shed(request: Request): void {
    this.#settle(request, this.#overloaded('requests'));
  }

  #overloaded(full: Full | 'age'): Outcome {
    const { maxQueue, maxQueueMs } = this.#limits;
    const [what, reason] = {
      requests: [`${maxQueue} requests wait already`, 'queue-full'],
      bytes: ['too many bytes wait already', 'queue-bytes'],
      age: [`no worker is free within ${maxQueueMs} ms`, 'queue-age'],
    }[full] as [string, string];
    const retryAfterMs = Math.ceil(this.#backlogMs()) || RETRY_MS;
    const message = `${what}: try again in ${retryAfterMs} ms, or send fewer images at once`;
    return { ...refused('overloaded', message, reason, retryAfterMs) };
  }

  /** How long the workers need for what waits, ms; 0 when nothing was measured. */
  #backlogMs(): number {
    return this.#serviceMs(this.#queue.waiting());
  }

  /** Whether a request would wait too long, with what goes before it: better to say so now. */
  #tooLate(request: Request): boolean {
    const { maxQueueMs } = this.#limits;
    return this.#backlogMs() > maxQueueMs && this.#serviceMs(this.#queue.ahead(request)) > maxQueueMs;
  }

  /** How long all workers together need for so many images of these models, ms. */
  #serviceMs(images: Iterable<[model: string, images: number]>): number {
    let ms = 0;
    for (const [model, count] of images) ms += this.#models.get(model)!.time.all(count);
    return ms / Math.max(1, this.#pool.ready.size * this.#slots);
  }

  /** One timer for all: it is for the first that is due, and most are answered before. */
  #expireAt(at: number, now: number): void {
    if (at >= this.#expiryAt) return;
    clearTimeout(this.#expiryTimer);
    this.#expiryAt = at;
    const ms = Math.min(Math.max(1, Math.ceil(at - now)), MAX_TIMER_MS);
    this.#expiryTimer = setTimeout(() => this.#expire(), ms);
  }

  #expire(): void {
    const now = performance.now();
    let first = Infinity;
    for (const request of this.#open) {
      if (request.expiresAt <= now) this.#giveUp(request, now);
      else first = Math.min(first, request.expiresAt);
    }
    this.#expiryAt = Infinity;
    this.#expireAt(first, now);
  }

  #giveUp(request: Request, now: number): void {
    const { job, state, deadline } = request;
    if (deadline <= now) {
      this.#settle(request, refused('deadline', `not done within ${job.timeoutMs} ms`));
    } else if (state === 'incomplete') {
      const message = `slice ${job.slices.length} has not come within ${this.#limits.maxSliceMs} ms: send it, or cancel`;
      this.#settle(request, refused('deadline', message, 'slices'));
    } else {
      this.#settle(request, this.#overloaded('age'));
    }
  }
}

/** Whether a worker is of use before more slices come. */
function runsWithWhatIsThere({ slices, rest }: Job): boolean {
  return !rest || slices.length === rest.sliceCount || rest.stopMargin > 0;
}

/** Whether there are slices that could change the answer. */
function isUnsure({ slices, rest }: Job, { margin }: Result): boolean {
  return rest !== undefined && slices.length < rest.sliceCount && margin < rest.stopMargin;
}

const SHUTTING_DOWN = 'this cloud is shutting down: ask another';
const CANCELLED = refused('cancelled', 'cancelled by the client');

function refused(code: TransportErrorCode, message: string, reason = '', retryAfterMs = 0): Outcome {
  return { refusal: refusal(code, message, reason, retryAfterMs), queueMs: 0, decodeMs: 0, inferMs: 0 };
}

function refusal(code: TransportErrorCode, message: string, reason: string, retryAfterMs = 0): Refusal {
  return { code, message, reason, retryAfterMs };
}

/** What workers need of a bundle; read once, and verified by that. */
export async function filesOf({ bundle }: Model, backend: PipelineBackend | undefined): Promise<ModelFiles> {
  const { manifest } = bundle;
  const codecs = [];
  for (const { id, tables } of manifest.codecs) codecs.push({ id, tables: await bundle.read(tables) });
  if (backend) {
    const remote = remoteModel(backend.target, manifest, backend.timeoutMs);
    return { codecs, decoder: NO_BYTES, classifier: NO_BYTES, latent: manifest.latent, remote };
  }
  return {
    codecs,
    decoder: await bundle.read(manifest.decoder.file),
    classifier: await bundle.read(manifest.classifier.file),
    latent: manifest.latent,
  };
}

const NO_BYTES = new Uint8Array(0);
