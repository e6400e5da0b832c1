import { fileURLToPath } from 'node:url';
import { createMemoryStream, main } from 'assemblyscript/asc';

const OPTIONS =
  'assembly/index.ts --optimizeLevel 3 --converge --noAssert --runtime stub --enable simd --memoryBase 64 --initialMemory 1';

/** The source of src/wasm/module.ts: assembly/ compiled, in base64. The same for the same sources and compiler. */
export async function compile() {
  const folder = fileURLToPath(new URL('..', import.meta.url));
  const stderr = createMemoryStream();
  let wasm;
  const { error } = await main([...OPTIONS.split(' '), '--baseDir', folder, '--outFile', 'coder.wasm'], {
    stderr,
    writeFile: (_name, contents) => {
      wasm = contents;
    },
  });
  if (error) throw new Error(`assembly/ does not compile: ${error.message}\n${stderr.toString()}`);
  return `// Made from assembly/ by npm run generate -w @raccoon/rans-coder; do not edit.
export const WASM_BASE64 =
  '${Buffer.from(wasm).toString('base64')}';
`;
}
