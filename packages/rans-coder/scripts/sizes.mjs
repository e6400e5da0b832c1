// npm run sizes -w @raccoon/rans-coder: bytes of every entry point, bundled and minified as a web page would have it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

const folder = new URL('..', import.meta.url);
const { exports } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'));
const rows = {};
for (const [entry, { default: file }] of Object.entries(exports)) {
  const bundle = await rolldown({ input: fileURLToPath(new URL(file, folder)), platform: 'browser' });
  const { output } = await bundle.generate({ format: 'esm', minify: true });
  await bundle.close();
  const code = Buffer.from(output[0].code);
  rows[entry] = {
    minified: code.length,
    gzip: gzipSync(code).length,
    brotli: brotliCompressSync(code).length,
  };
}
console.log('bundled and minified, bytes');
console.table(rows);
