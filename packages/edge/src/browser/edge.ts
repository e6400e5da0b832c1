/// <reference lib="dom" />
import type { Bundle } from '@raccoon/bundle';
import { createEdge, type Edge } from '../common/edge.ts';
import { EdgeError } from '../common/errors.ts';
import { loadEncoder, loadFaster, type Backend, type Choice } from './encoder.ts';
import { readPixels } from './pixels.ts';
import { canShareMemory, checkPlatform, hasWebGpu } from './platform.ts';

export interface BrowserEdgeOptions {
  /**
   * Threads of the encoder network; default: half of the processors, at most 4. More than one need a page that is
   * cross-origin isolated (docs/web.md); without that it is one.
   */
  threads?: number;
  /** Default `wasm`. `auto` runs each encoder on both as it is loaded, and keeps the faster. */
  backend?: Backend | 'auto';
  /** URL of the folder with onnxruntime-web's `.wasm` and `.mjs` files; default: `onnxruntime/` beside the page or worker. */
  runtimeFiles?: string;
  /** Photos with more are refused; default 40. */
  maxMegapixels?: number;
}

/** How encoders run here. */
export interface RuntimeReport {
  /** Threads of a run in WebAssembly. */
  readonly threads: number;
  /** Whether there may be more than one: the page is cross-origin isolated. */
  readonly isolated: boolean;
  /** What each encoder that is loaded runs on, by its file's name. */
  readonly encoders: ReadonlyMap<string, Choice>;
}

/** An edge in a page or a worker. */
export interface BrowserEdge extends Edge {
  readonly runtime: RuntimeReport;
}

/**
 * An edge on a browser: its own decoders for photos, ONNX Runtime for the encoder.
 * @throws EdgeError `platform` when this browser, or this page, cannot run one
 */
export async function openBrowserEdge(
  bundle: Bundle,
  options: BrowserEdgeOptions = {},
): Promise<BrowserEdge> {
  const { backend = 'wasm', runtimeFiles = 'onnxruntime/', maxMegapixels } = options;
  checkPlatform();
  if (backend === 'webgpu' && !(await hasWebGpu(true))) {
    throw new EdgeError('platform', "this browser has no WebGPU here: leave out `backend`, or say 'auto'");
  }
  const isolated = canShareMemory();
  const wanted = options.threads ?? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2));
  const threads = isolated ? wanted : 1;
  const files = new URL(runtimeFiles.replace(/\/?$/, '/'), globalThis.location.href);
  const encoders = new Map<string, Choice>();

  const edge = createEdge(bundle, {
    readPixels: (image, input) => readPixels(image, input, maxMegapixels),
    async loadEncoder(onnx, name, tensor, exitOutput) {
      const load = (on: Backend) =>
        loadEncoder(onnx, name, tensor, exitOutput, on, { threads, runtimeFiles: files });
      const { encoder, choice } =
        backend === 'auto' ? await loadFaster(load) : { encoder: await load(backend), choice: { backend } };
      encoders.set(name, choice);
      return encoder;
    },
  });
  return { ...edge, runtime: { threads, isolated, encoders } };
}
