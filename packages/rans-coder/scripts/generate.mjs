// npm run generate -w @raccoon/rans-coder: compiles assembly/ to WebAssembly and writes it as src/wasm/module.ts.
import { writeFileSync } from 'node:fs';
import { compile } from './compile.mjs';

writeFileSync(new URL('../src/wasm/module.ts', import.meta.url), await compile());
