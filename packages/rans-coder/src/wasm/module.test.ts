import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { compile } from '../../scripts/compile.mjs';
import { WASM_BASE64 } from './module.ts';

// What is used of it; TypeScript has it only among the types of a browser's page.
declare const WebAssembly: {
  readonly Module: (new (bytes: Uint8Array) => object) & {
    imports(module: object): object[];
    exports(module: object): { readonly name: string }[];
  };
};

test('module.ts is what assembly/ compiles to; else: npm run generate -w @raccoon/rans-coder', async () => {
  const committed = readFileSync(new URL('module.ts', import.meta.url), 'utf8');
  expect(committed === (await compile())).toBe(true);
});

test('the module asks for nothing and gives the coder', () => {
  const module = new WebAssembly.Module(Buffer.from(WASM_BASE64, 'base64'));
  expect(WebAssembly.Module.imports(module)).toEqual([]);
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  expect(names.toSorted()).toEqual([
    'decodeIndexed',
    'decodeRuns',
    'encodeIndexed',
    'encodeRuns',
    'memory',
    'narrow',
    'widen',
  ]);
});
