/// <reference lib="dom" />
import { EdgeError } from '../common/errors.ts';

/** A module that is valid where vectors of 128 bits are: one function that drops one. */
const SIMD = Uint8Array.from(
  [
    [0, 97, 115, 109, 1, 0, 0, 0], // \0asm, version 1
    [1, 4, 1, 96, 0, 0, 3, 2, 1, 0], // one function, () -> ()
    [10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11], // i32.const 0, i8x16.splat, drop, end
  ].flat(),
);

/**
 * Says in words what ONNX Runtime would fail at in its own.
 * @throws EdgeError `platform`
 */
export function checkPlatform(): void {
  if (typeof WebAssembly === 'undefined') {
    throw new EdgeError(
      'platform',
      'this browser runs no WebAssembly, which the encoder needs: is it switched off?',
    );
  }
  if (!WebAssembly.validate(SIMD)) {
    throw new EdgeError(
      'platform',
      'this browser has no WebAssembly SIMD, which the encoder needs: use Chrome 91, Firefox 89, Safari 16.4 or newer',
    );
  }
  if (!isAllowed()) {
    throw new EdgeError(
      'platform',
      "this page's Content-Security-Policy forbids WebAssembly: add 'wasm-unsafe-eval' to its script-src",
    );
  }
}

function isAllowed(): boolean {
  try {
    return new WebAssembly.Module(SIMD) instanceof WebAssembly.Module;
  } catch {
    return false;
  }
}

/** Threads of WebAssembly need memory that they share, which a browser gives to isolated pages only. */
export function canShareMemory(): boolean {
  return globalThis.crossOriginIsolated && typeof SharedArrayBuffer !== 'undefined';
}

/**
 * Whether there is a WebGPU adapter.
 * @param software whether one that computes on the processor counts: it works, a hundred times slower than WebAssembly
 */
export async function hasWebGpu(software: boolean): Promise<boolean> {
  if (!('gpu' in navigator)) return false;
  const adapter = await (navigator as { gpu: Gpu }).gpu.requestAdapter().catch(() => null);
  return adapter !== null && (software || adapter.info?.isFallbackAdapter !== true);
}

/** What is used here of WebGPU, whose types TypeScript does not bring. */
interface Gpu {
  requestAdapter(): Promise<{ readonly info?: { readonly isFallbackAdapter?: boolean } } | null>;
}
