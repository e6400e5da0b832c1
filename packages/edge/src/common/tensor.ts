import type { Manifest } from '@raccoon/bundle';
import { WASM_BASE64 } from './wasm/module.ts';

// The parts that are used here; TypeScript has them only among the types of a browser's page.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** What assembly/index.ts exports. Addresses, a count, means and scales of R, G and B. */
interface Simd {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  normalise(pixels: number, count: number, planes: number, ...affine: number[]): void;
}

const START = 1024;
const PAGE = 65536;

/** The network's input, allocated once and filled for each image. */
export interface InputTensor {
  /** (1, 3, H, W): the last image. */
  readonly data: Float32Array<ArrayBuffer>;
  /** pixels -> `(x - mean) / std` per channel. @param pixels RGB, 8 bits, (H, W, 3) at the network's size */
  fill(pixels: Uint8Array): void;
}

/** An input tensor in WebAssembly's memory, filled with SIMD; plain where that does not run. The floats are the same. */
export function createInputTensor(input: Manifest['input']): InputTensor {
  const simd = openSimd();
  if (simd === undefined) {
    const data = new Float32Array(3 * input.width * input.height);
    return { data, fill: (pixels) => normalise(pixels, input, data) };
  }
  const count = input.width * input.height;
  const planes = START; // first, where its address is the roundest
  const behind = planes + 12 * count;
  simd.memory.grow(Math.ceil((behind + 3 * count + 16) / PAGE)); // it reads in sixteens
  const { buffer } = simd.memory;
  const inside = new Uint8Array(buffer, behind, 3 * count);
  const affine = [...input.mean, ...input.std.map((std) => 1 / std)];
  return {
    data: new Float32Array(buffer, planes, 3 * count),
    fill(pixels) {
      inside.set(pixels);
      simd.normalise(behind, count, planes, ...affine);
    },
  };
}

/**
 * Pixels to the network's input: `(x - mean) / std` per channel, planes instead of interleaved.
 *
 * @param pixels RGB, 8 bits, (H, W, 3) at the network's size
 * @returns (1, 3, H, W)
 */
export function toTensor(pixels: Uint8Array, input: Manifest['input']): Float32Array<ArrayBuffer> {
  const tensor = new Float32Array(3 * input.width * input.height);
  normalise(pixels, input, tensor);
  return tensor;
}

/** Each operation rounds to float32, as in SIMD; a channel has only 256 results, so they are looked up. */
function normalise(
  pixels: Uint8Array,
  { width, height, mean, std }: Manifest['input'],
  planes: Float32Array,
): void {
  const plane = width * height;
  for (let c = 0; c < 3; c++) {
    const centre = Math.fround(mean[c]!);
    const scale = Math.fround(1 / std[c]!);
    const results = Float32Array.from({ length: 256 }, (_, x) => Math.fround(x - centre) * scale);
    for (let i = 0, from = c, to = c * plane; i < plane; i++, from += 3) {
      planes[to + i] = results[pixels[from]!]!;
    }
  }
}

function openSimd(): Simd | undefined {
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) return undefined; // WebAssembly's memory is little-endian
  try {
    const binary = Uint8Array.from(atob(WASM_BASE64), (character) => character.charCodeAt(0));
    return new WebAssembly.Instance(new WebAssembly.Module(binary)).exports as Simd; // written by assembly/index.ts
  } catch {
    return undefined;
  }
}
