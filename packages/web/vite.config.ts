import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import sharp from 'sharp';
import { defaultClientConditions, defineConfig, type Plugin } from 'vite';

// The page as static files, everything that it loads among them: dist/site/.

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const SITE = here('dist/site');
const PHOTOS = here('../../samples');
const samples = readdirSync(PHOTOS).flatMap((file) => /^(.+)\.jpg$/.exec(file)?.[1] ?? []);

/** Thumbnails, in screen pixels twice as many as on the page. */
const THUMBNAIL = 128;

/** Of onnxruntime-web: what runs on the processor, with SIMD and, where the page may, threads. */
const RUNTIME = ['ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm'];

/** Worth less than a round trip. */
const LEAST_SAVED = 1024;

/** Files that are not made from source: photos and the network's runtime. */
function assets(): Plugin {
  return {
    name: 'raccoon-assets',
    apply: 'build',
    async generateBundle() {
      const emit = (fileName: string, source: Uint8Array): void => {
        this.emitFile({ type: 'asset', fileName, source });
      };
      emit('samples/CREDITS.txt', await readFile(join(PHOTOS, 'CREDITS.md')));
      for (const name of samples) {
        const photo = await readFile(join(PHOTOS, `${name}.jpg`));
        emit(`samples/${name}.jpg`, photo);
        const small = sharp(photo).resize(THUMBNAIL, THUMBNAIL, { fit: 'cover' });
        emit(`samples/small/${name}.webp`, await small.webp({ quality: 70 }).toBuffer());
      }
      const folder = join(createRequire(import.meta.url).resolve('onnxruntime-web'), '..');
      for (const name of RUNTIME) emit(`runtime/${name}`, await readFile(join(folder, name)));
    },
  };
}

/** Tells the service worker which files there are, and their version: it changes with any of them. */
function precache(): Plugin {
  return {
    name: 'raccoon-precache',
    apply: 'build',
    enforce: 'post',
    generateBundle: {
      order: 'post',
      handler(_, bundle) {
        const worker = bundle['service-worker.js'];
        if (worker?.type !== 'chunk') throw new Error('there is no service worker');
        const files = Object.keys(bundle)
          .filter((name) => name !== worker.fileName && !name.endsWith('.map'))
          .toSorted();
        const hash = createHash('sha256').update(worker.code);
        for (const name of files) {
          const file = bundle[name];
          hash.update(name).update(file.type === 'chunk' ? file.code : file.source);
        }
        // the page by its folder, too
        const list = JSON.stringify(['', ...files]);
        const version = hash.digest('hex').slice(0, 16);
        worker.code = `const FILES = ${list}, VERSION = '${version}';\n${worker.code}`;
      },
    },
  };
}

/** Every file that shrinks by it once more as .br and .gz, for who serves them. */
function compress(): Plugin {
  const asBrotli = promisify(brotliCompress);
  const asGzip = promisify(gzip);
  return {
    name: 'raccoon-compress',
    apply: 'build',
    async writeBundle(_, bundle) {
      const names = Object.keys(bundle).filter((name) => /\.(html|js|mjs|css|svg|wasm|txt)$/.test(name));
      await Promise.all(
        names.map(async (name) => {
          const file = readFileSync(join(SITE, name));
          const params = {
            [constants.BROTLI_PARAM_QUALITY]: 5, // 9 takes eight times as long for 6 % less
            [constants.BROTLI_PARAM_SIZE_HINT]: file.length,
          };
          const smaller = { br: await asBrotli(file, { params }), gz: await asGzip(file) };
          for (const [suffix, bytes] of Object.entries(smaller)) {
            if (bytes.length + LEAST_SAVED < file.length)
              await writeFile(join(SITE, `${name}.${suffix}`), bytes);
          }
        }),
      );
    },
  };
}

export default defineConfig({
  root: here('src/page'),
  base: './',
  define: { SAMPLES: JSON.stringify(samples) },
  plugins: [assets(), precache(), compress()],
  resolve: {
    // ONNX Runtime's own files come from runtime/, where the page says that they are
    conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions],
    // this page encodes on the processor: nothing for graphics cards is in it
    alias: { 'onnxruntime-web/webgpu': 'onnxruntime-web/wasm' },
  },
  worker: { format: 'es' },
  build: {
    outDir: SITE,
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: { polyfill: false }, // every browser that can run the rest has it
    assetsInlineLimit: 0, // nothing inline: the page's policy forbids it
    reportCompressedSize: false,
    rolldownOptions: {
      checks: { pluginTimings: false },
      input: { page: here('src/page/index.html'), 'service-worker': here('src/page/service-worker.ts') },
      output: {
        entryFileNames: ({ name }) => (name === 'service-worker' ? '[name].js' : 'assets/[name]-[hash].js'),
      },
    },
  },
});
