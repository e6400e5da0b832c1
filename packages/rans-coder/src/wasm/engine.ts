import type { Engine } from '../engine.ts';
import type { Indexes } from '../indexes.ts';
import type { Lanes } from '../state.ts';
import type { RansTables } from '../tables.ts';
import { WASM_BASE64 } from './module.ts';

// The parts that are used here; TypeScript has them only among the types of a browser's page.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => WasmModule;
  readonly Instance: new (module: WasmModule) => { readonly exports: unknown };
};
type WasmModule = object;
interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

/** What assembly/index.ts exports. Arguments are addresses and counts. */
interface Coder {
  readonly memory: Memory;
  encodeRuns(image: number, indexes: number, runs: number, length: number, symbols: number, likely: number, plan: number, lanes: number, out: number): number; // prettier-ignore
  encodeIndexed(image: number, indexes: number, length: number, symbols: number, plan: number, lanes: number, out: number): number; // prettier-ignore
  decodeRuns(image: number, indexes: number, runs: number, length: number, out: number, first: number, behind: number): number; // prettier-ignore
  decodeIndexed(
    image: number,
    indexes: number,
    length: number,
    out: number,
    first: number,
    behind: number,
  ): number;
  narrow(from: number, to: number, length: number): number;
  widen(from: number, to: number, length: number): void;
}

/** Below it the coder keeps its states, and a decoder may look a few bytes before a stream. */
const HEAP = 1024;
const PAGE = 65536;

/** An instance that has grown beyond this is dropped at the next job, with the tables in it: memory never shrinks. */
const KEPT_BYTES: number = 64 << 20;

/** Most bytes that an int16 symbol adds: 2 for its entry, 1 for each of up to 5 digits. And the states. */
const SYMBOL_BYTES = 7;
const STATES_BYTES = 16;

/** WebAssembly's memory is little-endian everywhere; the arrays that it shares with us are as the machine is. */
const LITTLE_ENDIAN: boolean = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * The engine in WebAssembly, or null where it does not run: no WebAssembly, no SIMD, or a policy against it. It codes
 * int16; streams with symbols beyond, bad ones, and jobs that memory has no room for go to `plain`, which is always
 * right. One instance a thread, made at the first call.
 */
export function openWasm(plain: Engine): Engine | null {
  if (!LITTLE_ENDIAN) return null;
  let module: WasmModule;
  try {
    module = new WebAssembly.Module(
      Uint8Array.from(atob(WASM_BASE64), (character) => character.charCodeAt(0)),
    );
  } catch {
    return null;
  }
  let room = openRoom(module);
  if (room === null) return null;
  // the room to code in, a new one if the last job has filled it
  const present = (): Room | null => {
    if (room === null || room.size > KEPT_BYTES) room = openRoom(module);
    return room;
  };
  return {
    encode: (symbols, indexes, tables, lanes) =>
      present()?.encode(symbols, indexes, tables, lanes) ?? plain.encode(symbols, indexes, tables, lanes),
    decode: (bytes, indexes, tables, out) => {
      const done = present()?.decode(bytes, indexes, tables, out);
      if (done !== true) plain.decode(bytes, indexes, tables, out);
    },
  };
}

/** Null where no instance can be made, now at least: addresses are short after some thousands of them. */
function openRoom(module: WasmModule): Room | null {
  try {
    return new Room(module);
  } catch {
    return null;
  }
}

/** An instance and what lies in its memory: the tables that it has met, and behind them the present job. */
class Room {
  private readonly coder: Coder;
  private readonly images = new WeakMap<RansTables, number>();
  private top = HEAP;

  constructor(module: WasmModule) {
    this.coder = new WebAssembly.Instance(module).exports as Coder; // written by assembly/index.ts
  }

  get size(): number {
    return this.coder.memory.buffer.byteLength;
  }

  /** Null if a symbol is beyond int16, an index beyond the pool, or there is no room. */
  encode(
    symbols: Int16Array | Int32Array,
    indexes: Indexes,
    tables: RansTables,
    lanes: Lanes | undefined,
  ): Uint8Array<ArrayBuffer> | null {
    const image = this.place(tables);
    const { length } = symbols;
    const list = indexes instanceof Uint16Array ? indexes : indexes.tables;
    const wide = symbols instanceof Int32Array;
    const job = new Job(this.top);
    const at = {
      indexes: job.take(2 * list.length),
      symbols: job.take(2 * length),
      wide: job.take(wide ? 4 * length : 0),
      likely: job.take(4 * list.length),
      plan: job.take(4 * (indexes instanceof Uint16Array ? length : indexes.length)),
      out: job.take(SYMBOL_BYTES * length + 2 * list.length + STATES_BYTES),
    };
    if (image === null || !this.grow(job.end)) return null;
    const { coder } = this;
    const { buffer } = coder.memory;
    new Uint16Array(buffer, at.indexes, list.length).set(list);
    if (wide) {
      new Int32Array(buffer, at.wide, length).set(symbols);
      if (coder.narrow(at.wide, at.symbols, length) === 0) return null;
    } else new Int16Array(buffer, at.symbols, length).set(symbols);
    const end =
      indexes instanceof Uint16Array
        ? coder.encodeIndexed(image, at.indexes, length, at.symbols, at.plan, lanes ?? 0, at.out)
        : coder.encodeRuns(
            image,
            at.indexes,
            list.length,
            indexes.length,
            at.symbols,
            at.likely,
            at.plan,
            lanes ?? 0,
            at.out,
          );
    return end === 0 ? null : new Uint8Array(buffer.slice(at.out, end));
  }

  /** False if the stream is wrong or has symbols beyond int16, or there is no room; `out` is untouched. */
  decode(bytes: Uint8Array, indexes: Indexes, tables: RansTables, out: Int16Array | Int32Array): boolean {
    const image = this.place(tables);
    const { length } = out;
    const list = indexes instanceof Uint16Array ? indexes : indexes.tables;
    const wide = out instanceof Int32Array;
    const job = new Job(this.top);
    const at = {
      indexes: job.take(2 * list.length),
      bytes: job.take(bytes.length),
      symbols: job.take(2 * length),
      wide: job.take(wide ? 4 * length : 0),
    };
    if (image === null || !this.grow(job.end)) return false;
    const { coder } = this;
    const { buffer } = coder.memory;
    new Uint16Array(buffer, at.indexes, list.length).set(list);
    new Uint8Array(buffer, at.bytes, bytes.length).set(bytes);
    const end = at.bytes + bytes.length;
    const good =
      indexes instanceof Uint16Array
        ? coder.decodeIndexed(image, at.indexes, length, at.symbols, at.bytes, end)
        : coder.decodeRuns(image, at.indexes, list.length, indexes.length, at.symbols, at.bytes, end);
    if (good === 0) return false;
    if (wide) {
      coder.widen(at.symbols, at.wide, length);
      out.set(new Int32Array(buffer, at.wide, length));
    } else out.set(new Int16Array(buffer, at.symbols, length));
    return true;
  }

  /** The address of the tables' layout, copied in when they are met first; null without room. */
  private place(tables: RansTables): number | null {
    const known = this.images.get(tables);
    if (known !== undefined) return known;
    const job = new Job(this.top);
    const address = job.take(4 * tables.words.length);
    if (!this.grow(job.end)) return null;
    new Uint32Array(this.coder.memory.buffer, address, tables.words.length).set(tables.words);
    this.images.set(tables, address);
    this.top = job.end;
    return address;
  }

  private grow(end: number): boolean {
    const pages = Math.ceil((end - this.size) / PAGE);
    if (pages <= 0) return true;
    try {
      this.coder.memory.grow(pages);
      return true;
    } catch {
      return false;
    }
  }
}

/** Addresses one after the other, each a multiple of 16. */
class Job {
  end: number;

  constructor(start: number) {
    this.end = start;
  }

  take(bytes: number): number {
    const at = this.end;
    this.end = at + bytes <= 0x7fff_fff0 ? (at + bytes + 15) & ~15 : Infinity; // beyond 2 GiB: no room
    return at;
  }
}
