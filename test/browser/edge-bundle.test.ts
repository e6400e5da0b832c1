import { rolldown } from 'rolldown';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../helpers/paths.ts';

// What a bundler makes of the client's browser entry; needs no browser.

test('nothing of Node is in it, and ONNX Runtime comes when an encoder is loaded', async () => {
  const bundle = await rolldown({
    input: join(root, 'packages/client/src/browser/index.ts'),
    platform: 'browser',
    resolve: { conditionNames: ['@raccoon/source', 'browser', 'import', 'default'] },
  });
  const { output } = await bundle.generate({ format: 'esm', minify: true });
  await bundle.close();
  const chunks = output.filter((file) => file.type === 'chunk');
  const names = new Set(chunks.map(({ fileName }) => fileName));
  // what it did not find it would import from outside
  expect(chunks.flatMap(({ imports }) => imports).filter((name) => !names.has(name))).toEqual([]);

  const packages = chunks.flatMap(({ moduleIds }) =>
    moduleIds.flatMap((id) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1] ?? []),
  );
  expect([...new Set(packages)].toSorted()).toEqual(['onnxruntime-web', 'zod']);
  const node = /packages\/\w+\/src\/(node|sources)\//;
  expect(chunks.flatMap(({ moduleIds }) => moduleIds).filter((id) => node.test(id))).toEqual([]);

  const entry = chunks.find(({ isEntry }) => isEntry)!;
  expect(entry.imports).toEqual([]);
  expect(entry.moduleIds.filter((id) => id.includes('onnxruntime-web'))).toEqual([]);
  expect(entry.dynamicImports).toHaveLength(2); // WebAssembly's and WebGPU's
  expect(entry.code.length).toBeLessThan(230_000);
});
