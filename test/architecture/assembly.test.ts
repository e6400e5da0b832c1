import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compile } from '../../packages/rans-coder/scripts/compile.mjs';
import { root } from './workspace.ts';

// rans-coder tests its own
test.each([
  ['codec', 'src/wasm/module.ts'],
  ['edge', 'src/common/wasm/module.ts'],
])('%s: %s is what assembly/ compiles to; else: npm run generate in that package', async (name, file) => {
  const committed = readFileSync(join(root, 'packages', name, file), 'utf8');
  expect(committed === (await compile(name))).toBe(true);
});
