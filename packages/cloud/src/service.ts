import { SIGNATURE_FILE } from '@raccoon/bundle';
import {
  TransportError,
  chooseProtocol,
  errorResponse,
  type BundleInfo,
  type Caller,
  type Hello,
  type InferContext,
  type InferenceService,
  type InferRequest,
  type InferResponse,
  type ServiceLoad,
  type ServiceWelcome,
  type TransportErrorCode,
} from '@raccoon/transport';
import { Admission, mayUse, type AdmissionLimits } from './admission.ts';
import type { OipModel, OipModels } from '@raccoon/transport/node';
import type { Model, Models } from './model.ts';
import type { Observer, RequestFacts } from './observer.ts';
import type { Outcome, Pipeline } from './pipeline.ts';

const DEFAULT_TOP_K = 5;
const FILE_CHUNK_BYTES = 64 * 1024;
/** A load that was measured is told to all streams for so long, ms. */
const LOAD_MS = 50;

export interface ServiceOptions {
  readonly models: Models;
  readonly pipeline: Pick<Pipeline, 'infer' | 'stats'>;
  readonly observer: Observer;
  readonly limits: AdmissionLimits;
}

/** admission -> queue -> batch -> workers -> answer. Knows no sockets. */
export class CloudService implements InferenceService, OipModels {
  /** Told to clients that have somewhere else to go. */
  draining = false;
  readonly #models: Models;
  readonly #pipeline: ServiceOptions['pipeline'];
  readonly #observer: Observer;
  readonly #admission: Admission;
  #load: ServiceLoad = { images: 0, imagesPerSecond: 0, utilisation: 0, draining: false };
  /** Of the load, `performance.now()`. */
  #measuredAt = -Infinity;

  constructor({ models, pipeline, observer, limits }: ServiceOptions) {
    this.#models = models;
    this.#pipeline = pipeline;
    this.#observer = observer;
    this.#admission = new Admission(models, limits);
  }

  hello(hello: Hello, caller: Caller): ServiceWelcome {
    const protocol = chooseProtocol(hello);
    const served = hello.codecIds.flatMap((id) => {
      const model = this.#models.withCodec(id);
      return model ? [{ id, model }] : [];
    });
    if (hello.codecIds.length > 0 && served.length === 0) {
      throw new TransportError('unknown-codec', this.#admission.unknownCodec(hello.codecIds.join(', ')));
    }
    const allowed = served.filter(({ model }) => mayUse(caller, model.bundle.manifest.name));
    if (served.length > 0 && allowed.length === 0) {
      throw forbidden(caller, served[0]!.model);
    }
    const { name, version } = (allowed[0]?.model ?? this.#named('', caller)).bundle.manifest;
    return { protocol, codecIds: allowed.map(({ id }) => id), bundle: name, bundleVersion: version };
  }

  async infer(request: InferRequest, context: InferContext): Promise<InferResponse> {
    const { caller, signal, trace, later } = context;
    const arrivedAt = performance.now();
    this.#observer.arrived();
    const admitted = this.#admission.admit(request, caller, later !== undefined, arrivedAt);
    const { model, point } = admitted;
    const sliceCount = admitted.refusal ? 1 : admitted.sliceCount;
    const slices = [request.payload];
    const outcome: Outcome = admitted.refusal
      ? { refusal: admitted.refusal, ...NO_TIMES }
      : await this.#pipeline.infer({
          model: admitted.model,
          slices,
          ...(later && { rest: { sliceCount, stopMargin: request.stopMargin ?? 0, later } }),
          topK: request.topK || DEFAULT_TOP_K,
          wantLogits: request.wantLogits ?? false,
          caller: caller.name,
          priority: request.priority ? 1 : 0,
          timeoutMs: request.timeoutMs ?? 0,
          signal,
        });
    const { result, queueMs, decodeMs, inferMs } = outcome;
    const manifest = (model ?? this.#models.named(''))?.bundle.manifest;
    this.#observer.ended(
      {
        ...factsOf(request, caller),
        payloadBytes: slices.reduce((sum, { length }) => sum + length, 0),
        slices: slices.length,
        sliceCount,
        model: model?.key ?? '',
        point,
        pixels: manifest ? manifest.input.width * manifest.input.height : 0,
        trace,
      },
      {
        code: outcome.refusal?.code ?? 'ok',
        reason: outcome.refusal?.reason ?? '',
        queueMs,
        decodeMs,
        inferMs,
        totalMs: performance.now() - arrivedAt,
      },
    );
    const bundleVersion = manifest?.version ?? '';
    if (result) return { id: request.id, result, queueMs, decodeMs, inferMs, bundleVersion };
    const { code, message, retryAfterMs } = outcome.refusal!;
    return { ...errorResponse(request.id, code, message, retryAfterMs), bundleVersion };
  }

  refused(code: TransportErrorCode, caller: Caller, request?: InferRequest): void {
    this.#observer.arrived();
    this.#observer.ended(factsOf(request, caller), { code, reason: 'transport', ...NO_TIMES, totalMs: 0 });
  }

  load(): ServiceLoad {
    const now = performance.now();
    if (now - this.#measuredAt < LOAD_MS) return this.#load;
    const { waiting, inFlight, imagesPerSecond, utilisation } = this.#pipeline.stats;
    this.#measuredAt = now;
    this.#load = { images: waiting + inFlight, imagesPerSecond, utilisation, draining: this.draining };
    return this.#load;
  }

  model(name: string, caller: Caller): OipModel {
    const { manifest } = this.#named(name, caller).bundle;
    const versions = this.#models.versions(manifest.name);
    return { name: manifest.name, versions, classes: manifest.classes.length };
  }

  getBundle(name: string, caller: Caller): BundleInfo {
    const { manifest, manifestBytes } = this.#named(name, caller).bundle;
    return { name: manifest.name, version: manifest.version, manifest: manifestBytes };
  }

  async *fetchFile(name: string, file: string, offset: number, caller: Caller): AsyncIterable<Uint8Array> {
    const { bundle } = this.#named(name, caller);
    const listed = Object.hasOwn(bundle.manifest.files, file);
    // the signature signs the list, so it is not in it
    const signature = file === SIGNATURE_FILE ? await bundle.signature() : undefined;
    if (!listed && !signature) {
      throw new TransportError('not-found', `${bundle.manifest.name} has no file ${file}`);
    }
    const bytes = signature ?? (await bundle.read(file));
    for (let at = offset; at < bytes.length; at += FILE_CHUNK_BYTES) {
      yield bytes.subarray(at, at + FILE_CHUNK_BYTES);
    }
  }

  /** @throws TransportError 'not-found', 'forbidden' */
  #named(name: string, caller: Caller): Model {
    const model = this.#models.named(name);
    if (!model) {
      const served = this.#models.all.map(({ bundle }) => bundle.manifest.name).join(', ');
      throw new TransportError('not-found', `this cloud serves ${served}, not ${name}`);
    }
    if (!mayUse(caller, model.bundle.manifest.name)) throw forbidden(caller, model);
    return model;
  }
}

const NO_TIMES = { queueMs: 0, decodeMs: 0, inferMs: 0 };

/** What is known before anybody has looked into the payload. */
function factsOf(request: InferRequest | undefined, { name }: Caller): RequestFacts {
  return {
    id: request?.id ?? 0,
    caller: name,
    model: '',
    payloadBytes: request?.payload.length ?? 0,
    slices: 1,
    sliceCount: 1,
    point: undefined,
    pixels: 0,
    trace: undefined,
  };
}

function forbidden(caller: Caller, { bundle }: Model): TransportError {
  return new TransportError('forbidden', `${caller.name} may not use ${bundle.manifest.name}`);
}
