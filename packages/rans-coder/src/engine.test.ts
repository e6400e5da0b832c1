import { execFile } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type * as Coder from './index.ts';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

/** This package as a page loads it that has what `WebAssembly` is now. */
async function load(): Promise<typeof Coder> {
  vi.resetModules();
  return import('./index.ts');
}

const LIKELY = '00120c02'; // three symbols 0 of a run, docs/rans.md's flag of 16000

function bytesOf({ RansTables, encode }: typeof Coder, engine?: 'wasm' | 'plain'): string {
  const tables = RansTables.fromFrequencies([{ offset: -1, frequencies: [0x2000, 0xa000, 0x3000, 0x1000] }]);
  const runs = { tables: new Uint16Array(1), length: 3 };
  return Buffer.from(encode(new Int16Array(3), runs, tables, engine ? { engine } : {})).toString('hex');
}

test('both engines run here, the fastest first, and give the same bytes', async () => {
  const coder = await load();
  expect(coder.engines()).toEqual(['wasm', 'plain']);
  expect([bytesOf(coder), bytesOf(coder, 'wasm'), bytesOf(coder, 'plain')]).toEqual([LIKELY, LIKELY, LIKELY]);
});

test('loading the package compiles nothing', async () => {
  const Module = vi.fn<() => never>(() => {
    throw new Error('compiled');
  });
  vi.stubGlobal('WebAssembly', { Module });
  const coder = await load();
  expect(Module).not.toHaveBeenCalled();
  bytesOf(coder, 'plain');
  expect(Module).not.toHaveBeenCalled();
  bytesOf(coder);
  bytesOf(coder);
  expect(Module).toHaveBeenCalledTimes(1);
});

describe.each<[string, unknown]>([
  ['there is no WebAssembly', undefined],
  [
    'it has no SIMD, or a policy forbids it',
    {
      Module: function Module(): never {
        throw new Error('Wasm SIMD unsupported');
      },
    },
  ],
])('where %s', (_, stub) => {
  test('plain is chosen, with the same bytes', async () => {
    vi.stubGlobal('WebAssembly', stub);
    const coder = await load();
    expect(coder.engines()).toEqual(['plain']);
    expect([bytesOf(coder), bytesOf(coder, 'plain')]).toEqual([LIKELY, LIKELY]);
  });

  test('engine-unavailable: wasm was asked for', async () => {
    vi.stubGlobal('WebAssembly', stub);
    const coder = await load();
    const unavailable: unknown = expect.objectContaining({ name: 'RansError', code: 'engine-unavailable' });
    expect(() => bytesOf(coder, 'wasm')).toThrow(unavailable);
    const tables = coder.RansTables.fromFrequencies([]);
    expect(() => coder.decode(Uint8Array.of(0, 0, 128, 0), new Uint16Array(0), tables, { engine: 'wasm' })).toThrow(unavailable); // prettier-ignore
  });
});

test('a process that really has no WebAssembly', async () => {
  const index = pathToFileURL(resolve(import.meta.dirname, '../dist/index.js')).href;
  const program = `
    import { RansTables, constant, encode, engines } from '${index}';
    const tables = RansTables.fromFrequencies([{ offset: -1, frequencies: [0x2000, 0xa000, 0x3000, 0x1000] }]);
    const bytes = encode(new Int16Array(3), constant(0, 3), tables);
    let code;
    try {
      encode(new Int16Array(3), constant(0, 3), tables, { engine: 'wasm' });
    } catch (error) {
      code = error.code;
    }
    console.log(typeof WebAssembly, engines().join(), Buffer.from(bytes).toString('hex'), code);
  `;
  const options = ['--jitless', '--no-warnings', '--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, options);
  expect(stdout.trim()).toBe(`undefined plain ${LIKELY} engine-unavailable`);
});
