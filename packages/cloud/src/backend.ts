import { encodeBitstream } from '@raccoon/codec';
import type { CancelSignal } from '@raccoon/transport';
import { connectOip, type OipClient } from '@raccoon/transport/node';
import { nameOf, remoteModel, type RemoteModel } from './backend-target.ts';
import { CloudError } from './errors.ts';
import type { Log } from './log.ts';
import type { Model, ModelHost } from './model.ts';
import {
  filesOf,
  type Job,
  type Outcome,
  type Pipeline,
  type PipelineBackend,
  type PipelineStats,
} from './pipeline.ts';
import type { BatchDone, BatchFailed } from './worker-frames.ts';
import { EMBEDDED } from './worker-pool.ts';
import { WorkerProcess } from './worker-process.ts';

export interface BackendOptions extends PipelineBackend {
  readonly pipeline: Pipeline;
  /** Longest time that a worker may take for the reference, ms. */
  readonly maxBatchMs: number;
  readonly log: Log;
  /** Called when the backend has come or gone. */
  readonly onChange: () => void;
}

/** Between two questions whether a model is ready, ms. */
const ASK_MS = 1000;
/** A server whose one thread infers answers late. */
const ANSWER_MS = 5000;
/** Questions in a row without an answer, until a model counts as gone. */
const MISSES = 2;
/** Of the reference's range: more than a smaller number format does to logits, and less than another network. */
const TOLERANCE = 0.1;

/** A model and how its remote half is. */
interface Watched {
  readonly model: Model;
  readonly remote: RemoteModel;
  /** An image, and what the bundle's own networks make of it: (K). */
  readonly image: Uint8Array;
  readonly reference: Float32Array;
  /** Why it cannot be asked. */
  why: string | undefined;
  misses: number;
  /** A question is under way. */
  asking: boolean;
}

interface Trouble {
  readonly why: string;
  /** Waiting does not help. */
  readonly lasting: boolean;
}

/**
 * Stands before a pipeline whose networks another server runs, and lets nobody in while that one is not ready. A model counts as ready
 * when the server says so and has answered an image as the bundle's own networks do; both are looked at again when it was away.
 */
export class Backend implements ModelHost {
  readonly #options: BackendOptions;
  readonly #client: OipClient;
  readonly #watched = new Map<string, Watched>();
  #waits = true;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BackendOptions) {
    this.#options = options;
    this.#client = connectOip(options.target.address, options.target);
    this.#lookLater();
  }

  /** From now on a model that is not ready is an error, and not waited for. */
  opened(): void {
    this.#waits = false;
  }

  get stats(): PipelineStats {
    return this.#options.pipeline.stats;
  }

  /** Why a model cannot be asked; undefined: all can. */
  notReady(): string | undefined {
    return [...this.#watched.values()].find(({ why }) => why !== undefined)?.why;
  }

  /** @throws CloudError 'backend' */
  async load(model: Model): Promise<void> {
    const { pipeline, target, timeoutMs, maxBatchMs } = this.#options;
    const image = probeOf(model);
    const of: Watched = {
      model,
      remote: remoteModel(target, model.bundle.manifest, timeoutMs),
      image,
      reference: await referenceOf(model, image, maxBatchMs),
      why: undefined,
      misses: 0,
      asking: false,
    };
    await pipeline.load(model);
    try {
      await this.#available(of);
    } catch (error) {
      await pipeline.unload(model.key);
      throw error;
    }
    this.#watched.set(model.key, of);
  }

  async unload(key: string): Promise<void> {
    await this.#options.pipeline.unload(key);
    this.#watched.delete(key);
    this.#options.onChange();
  }

  /** Never rejects. */
  async infer(job: Job): Promise<Outcome> {
    const of = this.#watched.get(job.model.key);
    if (of?.why !== undefined) return notReady(of.why);
    const outcome = await this.#options.pipeline.infer(job);
    if (of && outcome.refusal?.reason === 'backend-gone') void this.#lookAgain(of); // those that come are told at the door
    return outcome;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#client.close();
  }

  /** Resolves when the model is right and ready. @throws CloudError 'backend' */
  async #available(of: Watched): Promise<void> {
    const { log } = this.#options;
    for (let told = false; ; told = true) {
      const trouble = await this.#look(of);
      if (!trouble) return;
      if (trouble.lasting || !this.#waits) throw new CloudError('backend', `${trouble.why} (docs/oip.md)`);
      if (!told) log.warn({ why: trouble.why }, 'waiting for the backend');
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    }
  }

  /** What is in the model's way: it is not ready, or it is not this model. */
  async #look({ model, remote, image, reference }: Watched): Promise<Trouble | undefined> {
    const named = nameOf(remote);
    try {
      if (!(await this.#client.modelReady(remote.model, ANSWER_MS))) {
        return { why: `${named} is not ready`, lasting: false };
      }
    } catch (error) {
      return { why: `${named} is not ready: ${(error as Error).message}`, lasting: false };
    }
    const { pipeline } = this.#options;
    const { result, refusal } = await pipeline.infer({ ...PROBE, model, slices: [image] });
    if (refusal) return { why: refusal.message, lasting: refusal.code === 'internal' };
    if (alike(result!.logits!, reference)) return undefined;
    const why = `${named} answers like another network: it needs decoder and classifier of ${model.key}`;
    return { why, lasting: true };
  }

  #lookLater(): void {
    this.#timer = setTimeout(() => {
      void Promise.all([...this.#watched.values()].map((of) => this.#lookAgain(of))).then(() => {
        if (this.#timer) this.#lookLater();
      });
    }, ASK_MS);
    this.#timer.unref();
  }

  /** A model that is served is asked whether it is ready; one that is not is looked at as at the start. */
  async #lookAgain(of: Watched): Promise<void> {
    if (of.asking) return;
    of.asking = true;
    await this.#ask(of);
    of.asking = false;
  }

  async #ask(of: Watched): Promise<void> {
    if (of.why !== undefined) return this.#set(of, (await this.#look(of))?.why);
    const named = nameOf(of.remote);
    try {
      const ready = await this.#client.modelReady(of.remote.model, ANSWER_MS);
      of.misses = 0;
      if (!ready) this.#set(of, `${named} is not ready`);
    } catch (error) {
      if (++of.misses >= MISSES) this.#set(of, `${named} is not ready: ${(error as Error).message}`);
    }
  }

  #set(of: Watched, why: string | undefined): void {
    const { log, onChange } = this.#options;
    if (why !== undefined && why !== of.why) log.error({ model: of.model.key, why }, 'backend not ready');
    if (why === undefined) log.info({ model: of.model.key }, 'backend ready');
    of.why = why;
    of.misses = 0;
    onChange();
  }
}

function notReady(why: string): Outcome {
  const message = `${why}: ask another cloud, or again in ${ASK_MS} ms`;
  const reason = 'backend-not-ready';
  const refusal = { code: 'unavailable', message, reason, retryAfterMs: ASK_MS } as const;
  return { refusal, queueMs: 0, decodeMs: 0, inferMs: 0 };
}

const NEVER: CancelSignal = {
  aborted: false,
  reason: undefined,
  addEventListener: () => undefined,
  removeEventListener: () => undefined,
};
const PROBE = {
  topK: 1,
  wantLogits: true,
  caller: 'raccoon',
  priority: 0,
  timeoutMs: 0,
  signal: NEVER,
} as const;

/** An image that no camera has seen: -1, 0 and 1 by a fixed rule. */
function probeOf({ bundle: { codec, manifest } }: Model): Uint8Array {
  const { channels, height: h, width: w } = manifest.latent;
  const symbols = Int16Array.from(
    { length: channels * h * w },
    (_, i) => ((((i * 7919) % 8191) * i) % 3) - 1,
  );
  return encodeBitstream(symbols, { h, w }, manifest.defaultPoint, codec)[0]!;
}

/** The logits (K) that the bundle's own networks give, in a worker that ends with them. @throws Error */
async function referenceOf(model: Model, image: Uint8Array, maxBatchMs: number): Promise<Float32Array> {
  let settle!: { resolve(outcome: BatchDone | BatchFailed): void; reject(error: Error): void };
  const answered = new Promise<BatchDone | BatchFailed>((resolve, reject) => {
    settle = { resolve, reject };
  });
  const worker = new WorkerProcess(0, EMBEDDED, maxBatchMs, {
    done: (_, __, outcome) => settle.resolve(outcome),
    died: (_, __, { message }) => settle.reject(new Error(message)),
  });
  answered.catch(() => undefined); // it may die while it loads
  try {
    await worker.started;
    await worker.load(0, await filesOf(model, undefined), 1);
    worker.run({ model: 0, items: [{ slices: [image], topK: 1, wantLogits: true }] });
    const outcome = await answered;
    const logits = outcome.kind === 'done' ? outcome.outcomes[0]?.result?.logits : undefined;
    if (!logits) throw new Error(`the bundle's own networks do not run: ${JSON.stringify(outcome)}`);
    return logits;
  } finally {
    worker.end();
    await worker.exited;
  }
}

function alike(logits: Float32Array, reference: Float32Array): boolean {
  const [least, most] = [Math.min(...reference), Math.max(...reference)];
  const tolerance = TOLERANCE * (most - least) + 1e-4 * Math.max(Math.abs(least), Math.abs(most));
  return reference.every((logit, i) => Math.abs(logit - logits[i]!) <= tolerance);
}
