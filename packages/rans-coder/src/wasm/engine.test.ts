import { afterEach, expect, test, vi } from 'vitest';
import type { Engine } from '../engine.ts';
import { RansTables, constant } from '../index.ts';
import { decodePlain } from '../plain/decode.ts';
import { encodePlain } from '../plain/encode.ts';
import { openWasm } from './engine.ts';

// What is used of it; TypeScript has it only among the types of a browser's page.
interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
declare const WebAssembly: {
  readonly Module: object;
  readonly Instance: new (module: object) => { readonly exports: Readonly<Record<string, unknown>> };
};

afterEach(() => vi.unstubAllGlobals());

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The plain engine, and how often it was asked. */
function counted(): Engine & { calls: number } {
  const engine = {
    calls: 0,
    encode(...parameters: Parameters<Engine['encode']>) {
      engine.calls++;
      return encodePlain(...parameters);
    },
    decode(...parameters: Parameters<Engine['decode']>) {
      engine.calls++;
      decodePlain(...parameters);
    },
  };
  return engine;
}

/** The memories of the instances that are made from now on; none grows beyond `most` bytes. */
function watchedMemories(most = Infinity): Memory[] {
  const memories: Memory[] = [];
  class Instance extends WebAssembly.Instance {
    constructor(module: object) {
      super(module);
      const memory = this.exports['memory'] as Memory; // assembly/ exports it
      memories.push(memory);
      const grow = memory.grow.bind(memory);
      memory.grow = (pages) => {
        if (memory.buffer.byteLength + 65536 * pages > most) throw new RangeError('no room');
        return grow(pages);
      };
    }
  }
  vi.stubGlobal('WebAssembly', { Module: WebAssembly.Module, Instance });
  return memories;
}

const pool = (f: number): RansTables => RansTables.fromFrequencies([{ offset: -1, frequencies: [100, f, 200, 65236 - f] }]); // prettier-ignore

const symbols = Int16Array.from({ length: 100 }, (_, i) => (i % 4) - 1);
const indexes = new Uint16Array(100);

test('int16 in good streams is coded here; int32 beyond, and what is wrong, by the plain engine', () => {
  const plain = counted();
  const wasm = openWasm(plain)!;
  const tables = pool(60_000);
  const bytes = wasm.encode(symbols, indexes, tables, undefined);
  expect(hex(bytes)).toBe(hex(encodePlain(symbols, indexes, tables)));
  wasm.decode(bytes, indexes, tables, new Int16Array(100));
  wasm.decode(bytes, indexes, tables, new Int32Array(100));
  wasm.encode(Int32Array.from(symbols), constant(0, 100), tables, 4);
  expect(plain.calls).toBe(0);

  const wide = Int32Array.of(32768);
  const stream = wasm.encode(wide, indexes.subarray(0, 1), tables, undefined);
  expect(plain.calls).toBe(1);
  const out = new Int32Array(1);
  wasm.decode(stream, indexes.subarray(0, 1), tables, out);
  expect(plain.calls).toBe(2);
  expect(out).toEqual(wide);
  const damage = bytes.subarray(1);
  expect(() => wasm.decode(damage, indexes, tables, new Int16Array(100))).toThrow('the stream ends in');
  expect(plain.calls).toBe(3);
});

test('thousands of pools: beyond 64 MB the memory is dropped, with the same bytes before and after', () => {
  const memories = watchedMemories();
  const plain = counted();
  const wasm = openWasm(plain)!;
  const first = pool(1);
  const expected = hex(wasm.encode(symbols, indexes, first, undefined));
  // 65,000 entries are 1 MB: 100 of these and 3,000 small ones are more than what is kept
  for (let i = 0; i < 3000; i++) {
    const tables =
      i % 30 === 0
        ? RansTables.fromFrequencies([{ offset: -32768, frequencies: [536 - (i % 500), ...new Uint8Array(64_999).fill(1), 1 + (i % 500)] }]) // prettier-ignore
        : pool(1 + i);
    const bytes = wasm.encode(symbols, indexes, tables, undefined);
    const out = new Int16Array(100);
    wasm.decode(bytes, indexes, tables, out);
    if (i % 100 === 0) {
      expect(out).toEqual(symbols);
      expect(hex(bytes)).toBe(hex(encodePlain(symbols, indexes, tables)));
    }
  }
  expect(memories.length).toBeGreaterThan(1);
  for (const memory of memories) expect(memory.buffer.byteLength).toBeLessThan(80 << 20);
  expect(hex(wasm.encode(symbols, indexes, first, undefined))).toBe(expected);
  expect(plain.calls).toBe(0);
});

test('a job that there is no room for goes to the plain engine, and the next one is here again', () => {
  const memories = watchedMemories(4 << 20);
  const plain = counted();
  const wasm = openWasm(plain)!;
  const tables = pool(60_000);
  const many = new Int32Array(1 << 20);
  const bytes = wasm.encode(many, constant(0, many.length), tables, undefined);
  expect(plain.calls).toBe(1);
  const out = new Int32Array(many.length).fill(7);
  wasm.decode(bytes, constant(0, many.length), tables, out);
  expect(plain.calls).toBe(2);
  expect(out.every((symbol) => symbol === 0)).toBe(true);
  wasm.decode(wasm.encode(symbols, indexes, tables, undefined), indexes, tables, new Int16Array(100));
  expect(plain.calls).toBe(2);
  expect(memories.length).toBe(1);
});

test('nor tables that there is no room for', () => {
  watchedMemories(1 << 18);
  const plain = counted();
  const wasm = openWasm(plain)!;
  const wide = RansTables.fromFrequencies([{ offset: -32768, frequencies: new Uint8Array(65536).fill(1) }]);
  const bytes = wasm.encode(symbols, indexes, wide, undefined);
  const out = new Int16Array(100);
  wasm.decode(bytes, indexes, wide, out);
  expect(out).toEqual(symbols);
  expect(plain.calls).toBe(2);
});

test('where no instance can be made there is no engine, and where no more can be made the plain one goes on', () => {
  let left = 0;
  class Instance extends WebAssembly.Instance {
    constructor(module: object) {
      if (left-- === 0) throw new RangeError('no room');
      super(module);
    }
  }
  vi.stubGlobal('WebAssembly', { Module: WebAssembly.Module, Instance });
  const plain = counted();
  expect(openWasm(plain)).toBe(null);

  left = 1;
  const wasm = openWasm(plain)!;
  const tables = pool(60_000);
  const many = new Int16Array(9 << 20); // beyond what is kept
  wasm.encode(many, constant(0, many.length), tables, undefined);
  expect(plain.calls).toBe(0);
  const bytes = wasm.encode(symbols, indexes, tables, undefined);
  expect(plain.calls).toBe(1);
  expect(hex(bytes)).toBe(hex(encodePlain(symbols, indexes, tables)));
});

// 4 GiB, of which nothing is touched. Counted in 32 bits they would be none, and this is the stream of no symbols.
test('more symbols than a memory has addresses for', () => {
  const plain = counted();
  const wasm = openWasm(plain)!;
  const tables = RansTables.fromFrequencies([{ offset: 0, frequencies: [65535, 1] }]);
  const out = new Int16Array(2 ** 31);
  const action = (): void => wasm.decode(Uint8Array.of(0, 0, 128, 0), constant(0, 2 ** 31), tables, out);
  expect(action).toThrow(expect.objectContaining({ name: 'RansError', code: 'truncated' }));
  expect(plain.calls).toBe(1);
});
