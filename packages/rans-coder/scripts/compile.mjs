import { fileURLToPath } from 'node:url';
import { createMemoryStream, main } from 'assemblyscript/asc';

const OPTIONS =
  'assembly/index.ts --optimizeLevel 3 --converge --noAssert --runtime stub --enable simd --memoryBase 64 --initialMemory 1';

/**
 * The source of a package's wasm/module.ts: its assembly/ compiled, in base64. The same for the same sources and
 * compiler.
 * @param name of the package's folder
 */
export async function compile(name = 'rans-coder') {
  const folder = fileURLToPath(new URL(`../../${name}/`, import.meta.url));
  const stderr = createMemoryStream();
  let wasm;
  const { error } = await main([...OPTIONS.split(' '), '--baseDir', folder, '--outFile', 'coder.wasm'], {
    stderr,
    writeFile: (_name, contents) => {
      wasm = contents;
    },
  });
  if (error) throw new Error(`assembly/ does not compile: ${error.message}\n${stderr.toString()}`);
  return `// Made from assembly/ by npm run generate -w @raccoon/${name}; do not edit.
export const WASM_BASE64 =
  '${Buffer.from(wasm).toString('base64')}';
`;
}
