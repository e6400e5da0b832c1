import type { Bundle } from '@raccoon/bundle';
import { CodecError, readHeader, type CodecErrorCode } from '@raccoon/codec';
import {
  TransportError,
  chooseProtocol,
  errorResponse,
  type BundleInfo,
  type Hello,
  type InferContext,
  type InferenceService,
  type InferRequest,
  type InferResponse,
  type TransportErrorCode,
  type Welcome,
} from '@raccoon/transport';
import { BatchQueue, type BatchLimits, type Queued } from './queue.ts';
import type { BatchItem, Outcome } from './worker-messages.ts';
import type { BatchOutcome } from './worker-pool.ts';

const DEFAULT_TOP_K = 5;
const FILE_CHUNK_BYTES = 64 * 1024;
/** Timers take no more, ms: 24 days; a client may say 49. */
const MAX_TIMEOUT_MS = 0x7fff_ffff;

/** What the service needs of the workers. */
export interface BatchRunner {
  readonly hasFree: boolean;
  /** @throws TransportError */
  run(items: BatchItem[]): Promise<BatchOutcome>;
}

/** A request on its way: waiting, in a batch, or answered. */
interface Pending extends Queued {
  readonly item: BatchItem;
  /** `cutAt`: when its batch was cut, `performance.now()` ms. */
  answer(outcome: Outcome, cutAt: number, decodeMs: number, inferMs: number): void;
  fail(code: TransportErrorCode, message: string): void;
}

/** admission -> queue -> batch -> workers -> answer. Knows no sockets. */
export class CloudService implements InferenceService {
  readonly #bundle: Bundle;
  readonly #manifestBytes: Uint8Array;
  readonly #queue: BatchQueue<Pending>;
  readonly #runner: BatchRunner;
  #draining = false;

  constructor(bundle: Bundle, runner: BatchRunner, limits: BatchLimits) {
    this.#bundle = bundle;
    this.#manifestBytes = new TextEncoder().encode(JSON.stringify(bundle.manifest));
    this.#runner = runner;
    this.#queue = new BatchQueue(
      limits,
      () => runner.hasFree,
      (batch) => void this.#run(batch),
    );
  }

  /** To be called when a worker becomes free. */
  workerFreed(): void {
    this.#queue.schedule();
  }

  /** From now on every request is refused with `draining`; what was taken is finished. */
  drain(): void {
    this.#draining = true;
  }

  hello(hello: Hello): Omit<Welcome, 'maxInFlight' | 'maxPayloadBytes'> {
    const protocol = chooseProtocol(hello);
    const codecIds = hello.codecIds.filter((id) => this.#bundle.codecs.has(id));
    if (hello.codecIds.length > 0 && codecIds.length === 0) {
      throw new TransportError('unknown-codec', this.#unknownCodec(hello.codecIds.join(', ')));
    }
    const { name, version } = this.#bundle.manifest;
    return { protocol, codecIds, bundle: name, bundleVersion: version };
  }

  infer(request: InferRequest, context: InferContext): Promise<InferResponse> {
    const arrivedAt = performance.now();
    const refused = this.#refuse(request);
    if (refused)
      return Promise.resolve(this.#stamp(errorResponse(request.id, refused.code, refused.message)));

    return new Promise((resolve) => {
      let settled = false;
      const settle = (response: InferResponse): void => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        context.signal.removeEventListener('abort', onAbort);
        resolve(this.#stamp(response));
      };
      const fail: Pending['fail'] = (code, message) => settle(errorResponse(request.id, code, message));
      const onAbort = (): void => fail('cancelled', 'cancelled by the client');
      context.signal.addEventListener('abort', onAbort);
      const { timeoutMs } = request;
      // on a timer, so that the client hears it also while a long batch runs
      const timer = timeoutMs
        ? setTimeout(
            () => fail('deadline', `not done within ${timeoutMs} ms`),
            Math.min(timeoutMs, MAX_TIMEOUT_MS),
          )
        : undefined;
      if (context.signal.aborted) onAbort();

      const pending: Pending = {
        arrivedAt,
        get settled() {
          return settled;
        },
        item: {
          payload: request.payload,
          topK: request.topK || DEFAULT_TOP_K,
          wantLogits: request.wantLogits ?? false,
        },
        answer(outcome, cutAt, decodeMs, inferMs) {
          if ('corrupt' in outcome) {
            fail('corrupt-bitstream', outcome.corrupt);
          } else {
            settle({
              id: request.id,
              result: outcome.result,
              queueMs: cutAt - arrivedAt,
              decodeMs,
              inferMs,
              bundleVersion: '',
            });
          }
        },
        fail,
      };
      if (!settled && !this.#queue.push(pending)) {
        fail('overloaded', 'the queue is full; send fewer images at once or try again later');
      }
    });
  }

  getBundle(name: string): BundleInfo {
    this.#checkName(name);
    const { manifest } = this.#bundle;
    return { name: manifest.name, version: manifest.version, manifest: this.#manifestBytes };
  }

  async *fetchFile(bundle: string, file: string, offset: number): AsyncIterable<Uint8Array> {
    this.#checkName(bundle);
    if (!Object.hasOwn(this.#bundle.manifest.files, file)) {
      throw new TransportError('not-found', `${this.#bundle.manifest.name} has no file ${file}`);
    }
    const bytes = await this.#bundle.read(file);
    for (let at = offset; at < bytes.length; at += FILE_CHUNK_BYTES) {
      yield bytes.subarray(at, at + FILE_CHUNK_BYTES);
    }
  }

  /** Why a request is not even queued; checked on the 16 bytes of its header, before any work. */
  #refuse(request: InferRequest): { code: TransportErrorCode; message: string } | undefined {
    if (this.#draining) return { code: 'draining', message: 'this cloud is leaving; connect to another one' };
    let header;
    try {
      header = readHeader(request.payload);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      return { code: transportCode(error.code), message: error.message };
    }
    const codec = this.#bundle.codecs.get(header.codecId);
    if (!codec) return { code: 'unknown-codec', message: this.#unknownCodec(header.codecId) };
    const { height, width } = this.#bundle.manifest.latent;
    if (header.h !== height || header.w !== width) {
      return {
        code: 'bad-request',
        message: `a latent of ${header.h}x${header.w}; ${this.#bundle.manifest.name} takes ${height}x${width}`,
      };
    }
    return undefined;
  }

  async #run(batch: Pending[]): Promise<void> {
    const cutAt = performance.now();
    try {
      const { outcomes, decodeMs, inferMs } = await this.#runner.run(batch.map((pending) => pending.item));
      batch.forEach((pending, i) => pending.answer(outcomes[i]!, cutAt, decodeMs, inferMs));
    } catch (error) {
      const { code, message } = TransportError.from(error);
      for (const pending of batch) pending.fail(code, message);
    }
  }

  #unknownCodec(ids: string): string {
    const { name, version } = this.#bundle.manifest;
    const accepted = [...this.#bundle.codecs.keys()].join(', ');
    return `codec ${ids} is not one of ${name} ${version} (${accepted}): edge and cloud need the same bundle`;
  }

  #checkName(name: string): void {
    const served = this.#bundle.manifest.name;
    if (name && name !== served) {
      throw new TransportError('not-found', `this cloud serves ${served}, not ${name}`);
    }
  }

  #stamp(response: InferResponse): InferResponse {
    return { ...response, bundleVersion: this.#bundle.manifest.version };
  }
}

/** A damaged bitstream is the client's fault or the link's; tables and files never come this way. */
function transportCode(code: CodecErrorCode): TransportErrorCode {
  switch (code) {
    case 'too-many-bytes':
      return 'payload-too-large';
    case 'version':
    case 'flags':
    case 'too-many-symbols':
      return 'bad-request';
    default:
      return 'corrupt-bitstream';
  }
}
