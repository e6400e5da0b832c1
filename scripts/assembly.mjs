// node scripts/assembly.mjs codec|edge, which is npm run generate -w @raccoon/codec: compiles the package's assembly/ to
// WebAssembly and writes it as its wasm/module.ts. (rans-coder, which is useful on its own, brings its own compiler.)
import { writeFileSync } from 'node:fs';
import { compile } from '../packages/rans-coder/scripts/compile.mjs';

/** Where each package keeps what its assembly/ compiles to. */
const MODULES = {
  codec: new URL('../packages/codec/src/wasm/module.ts', import.meta.url),
  edge: new URL('../packages/edge/src/common/wasm/module.ts', import.meta.url),
};

for (const name of process.argv.slice(2)) writeFileSync(MODULES[name], await compile(name));
