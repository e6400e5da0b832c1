/// <reference lib="dom" />
import type * as Ort from 'onnxruntime-web/wasm';
import { EdgeError } from '../common/errors.ts';
import type { Encoder } from '../common/runtime.ts';
import { encoderOf } from '../common/session.ts';
import { canShareMemory, hasWebGpu } from './platform.ts';

/** What an encoder network runs on. */
export type Backend = 'wasm' | 'webgpu';

export interface EncoderOptions {
  /** Of a run in WebAssembly. The first encoder of a page, or of a worker, decides for all of them. */
  readonly threads: number;
  /** Where ONNX Runtime's `.wasm` and `.mjs` are. */
  readonly runtimeFiles: URL;
}

/** Runs that a choice is measured by, after one to warm up. */
const MEASURED_RUNS = 3;
/** Two backends may differ by rounding; by more than this share of the largest value one of them is wrong. */
const TOLERANCE = 0.02;

/** ONNX Runtime starts and runs one at a time, whoever asks. */
let last: Promise<unknown> = Promise.resolve();

/**
 * An encoder network in ONNX Runtime (WebAssembly or WebGPU).
 * @param onnx one input tensor (1, 3, H, W); output `latent` (1, C, h, w)
 * @param tensor what each run reads
 * @param exitOutput the output with the local exit's logits (1, K), where there is one
 * @throws EdgeError `encoder`, `platform`
 */
export async function loadEncoder(
  onnx: Uint8Array,
  name: string,
  tensor: Float32Array,
  exitOutput: string | undefined,
  backend: Backend,
  { threads, runtimeFiles }: EncoderOptions,
): Promise<Encoder> {
  const ort = await openRuntime(backend, threads, runtimeFiles);
  let session: Ort.InferenceSession;
  try {
    session = await inTurn(() =>
      ort.InferenceSession.create(onnx, {
        executionProviders: [backend],
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3, // errors; the console is the page's
      }),
    );
  } catch (cause) {
    throw asEdgeError(cause, name, runtimeFiles);
  }
  const input = (shape: number[]): Ort.Tensor => new ort.Tensor('float32', tensor, shape);
  return encoderOf(session, { name, input, exitOutput, inTurn });
}

/** What a choice between the two was made by. */
export interface Choice {
  readonly backend: Backend;
  /** Of one run, the median of a few, ms; absent where it did not run. */
  readonly wasmMs?: number;
  readonly webgpuMs?: number;
}

/**
 * The faster of the two for this encoder on this machine, by running it on both.
 * @throws EdgeError `encoder`, `platform`
 */
export async function loadFaster(
  load: (backend: Backend) => Promise<Encoder>,
): Promise<{ readonly encoder: Encoder; readonly choice: Choice }> {
  const wasm = await load('wasm');
  if (!(await hasWebGpu(false))) return { encoder: wasm, choice: { backend: 'wasm' } };
  let webgpu: Encoder;
  try {
    webgpu = await load('webgpu');
  } catch {
    return { encoder: wasm, choice: { backend: 'wasm' } }; // there is an adapter, and it cannot run this network
  }
  const a = await measure(wasm, Infinity);
  const b = await measure(webgpu, a.ms);
  const choice = { wasmMs: a.ms, webgpuMs: b.ms };
  const faster = b.ms < a.ms && agree(a.latent, b.latent);
  await (faster ? wasm : webgpu).release();
  return faster
    ? { encoder: webgpu, choice: { backend: 'webgpu', ...choice } }
    : { encoder: wasm, choice: { backend: 'wasm', ...choice } };
}

/** @param enoughMs a run that takes twice as long needs no other */
async function measure(
  encoder: Encoder,
  enoughMs: number,
): Promise<{ readonly ms: number; readonly latent: Float32Array }> {
  const { latent } = await encoder.run(false);
  const times: number[] = [];
  do {
    const start = performance.now();
    await encoder.run(false);
    times.push(performance.now() - start);
  } while (times.length < MEASURED_RUNS && times[0]! < 2 * enoughMs);
  return { ms: times.toSorted((x, y) => x - y)[times.length >> 1]!, latent };
}

function agree(a: Float32Array, b: Float32Array): boolean {
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return a.every((value, i) => Math.abs(value - b[i]!) <= TOLERANCE * largest);
}

async function openRuntime(backend: Backend, threads: number, files: URL): Promise<typeof Ort> {
  const ort = await (backend === 'wasm' ? import('onnxruntime-web/wasm') : import('onnxruntime-web/webgpu'));
  ort.env.wasm.numThreads = canShareMemory() ? threads : 1;
  ort.env.wasm.wasmPaths = files.href;
  return ort;
}

function inTurn<T>(run: () => Promise<T>): Promise<T> {
  const result = last.then(run);
  last = result.catch(() => undefined);
  return result;
}

function asEdgeError(cause: unknown, name: string, files: URL): EdgeError {
  const message = cause instanceof Error ? cause.message : String(cause);
  // ONNX Runtime's words when a file of its own is not there, and ever after
  if (/backend|WebAssembly|initializeWebAssembly|dynamically imported|wasm/i.test(message)) {
    return new EdgeError(
      'platform',
      `ONNX Runtime cannot start from ${files.href}: ${message}. Are onnxruntime-web's .wasm and .mjs files there (runtimeFiles)? Then load the page again`,
      { cause },
    );
  }
  return new EdgeError('encoder', `${name} cannot be loaded: ${message}`, { cause });
}
