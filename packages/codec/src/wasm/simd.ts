import { WASM_BASE64 } from './module.ts';

// The parts that are used here; TypeScript has them only among the types of a browser's page.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** What assembly/index.ts exports. Arguments are addresses and counts. */
interface Module {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  quantise(
    latent: number,
    channels: number,
    plane: number,
    gain: number,
    median: number,
    symbols: number,
  ): number;
}

export interface Simd {
  /** False if it was not done: no SIMD or no memory here, a symbol beyond int16, or more than `MOST`. */
  quantise(
    latent: Float32Array,
    plane: number,
    gains: Float32Array,
    medians: Float32Array,
    out: Int16Array,
  ): boolean;
}

/** Memory never shrinks: larger latents than any reader accepts by default are not worth keeping it for. */
const MOST: number = 1 << 20;

const START = 1024;
const PAGE = 65536;

/** Rounding in WebAssembly, where it runs: no WebAssembly, no SIMD, or a policy against it give one that does nothing. */
export function openSimd(): Simd {
  const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1; // as WebAssembly's memory is
  let module: Module | undefined;
  try {
    const binary = Uint8Array.from(atob(WASM_BASE64), (character) => character.charCodeAt(0));
    module = new WebAssembly.Instance(new WebAssembly.Module(binary)).exports as Module; // assembly/index.ts
  } catch {
    module = undefined;
  }
  if (!littleEndian || module === undefined) return { quantise: () => false };
  const simd = module;
  return {
    quantise(latent, plane, gains, medians, out) {
      const { length } = latent;
      if (length > MOST) return false;
      const gain = START;
      const median = gain + 4 * gains.length;
      const from = (median + 4 * medians.length + 15) & ~15;
      const to = (from + 4 * length + 15) & ~15;
      const missing = Math.ceil((to + 2 * length - simd.memory.buffer.byteLength) / PAGE);
      try {
        if (missing > 0) simd.memory.grow(missing);
      } catch {
        return false;
      }
      const { buffer } = simd.memory;
      new Float32Array(buffer, gain, gains.length).set(gains);
      new Float32Array(buffer, median, medians.length).set(medians);
      new Float32Array(buffer, from, length).set(latent);
      if (simd.quantise(from, gains.length, plane, gain, median, to) === 0) return false;
      out.set(new Int16Array(buffer, to, length));
      return true;
    },
  };
}
