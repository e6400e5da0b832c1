import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import type * as Client from '../../packages/client/src/browser/index.ts';
import type * as Edge from '../../packages/edge/src/browser/index.ts';
import { root } from '../helpers/paths.ts';

declare global {
  // what functions see that run in the page
  var raccoon: { readonly client: typeof Client; readonly edge: typeof Edge };
  /** What one leaves for the next. */
  var client: Client.BrowserClient;
  var events: string[];
  /** What a promise fails with: name, code and message. */
  var failureOf: (promise: Promise<unknown>) => Promise<string>;
}

/** Also the script of a worker, which runs the functions that it is sent. */
const ENTRY = `import * as client from '@raccoon/client/browser';
  import * as edge from '@raccoon/edge/browser';
  globalThis.raccoon = { client, edge };
  globalThis.failureOf = (promise) =>
    promise.then(() => 'none', ({ name, code, message }) => name + ' ' + code + ': ' + message);
  if (typeof document === 'undefined') onmessage = async ({ data }) => postMessage(await (0, eval)(data)());`;

/** The scripts of a page that uses the client, by name, bundled and minified from their sources. */
export async function bundlePage(): Promise<ReadonlyMap<string, string>> {
  const entry = join(root, 'test/browser/entry.js');
  const bundle = await rolldown({
    input: entry,
    platform: 'browser',
    cwd: root,
    resolve: { conditionNames: ['@raccoon/source', 'browser', 'import', 'default'] },
    plugins: [
      {
        name: 'entry',
        load: (id) => (id === entry ? ENTRY : null),
        resolveId: (id) => (id === entry ? id : null),
      },
    ],
  });
  const { output } = await bundle.generate({ format: 'esm', minify: true, entryFileNames: 'page.js' });
  await bundle.close();
  return new Map(output.flatMap((file) => (file.type === 'chunk' ? [[file.fileName, file.code]] : [])));
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html',
  jpg: 'image/jpeg',
  js: 'text/javascript',
  mjs: 'text/javascript',
  wasm: 'application/wasm',
};
const FOLDERS: Readonly<Record<string, string>> = {
  onnxruntime: join(root, 'node_modules/onnxruntime-web/dist'),
  samples: join(root, 'samples'),
};
const PAGE = '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>';

/**
 * What a page needs beside the endpoint: an empty page at `/`, its scripts, ONNX Runtime's files, the samples. In the page's
 * address `isolated` makes it cross-origin isolated, and `csp` is its policy.
 */
export function pageListener(scripts: ReadonlyMap<string, string>): RequestListener {
  return (request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
    const [folder, name] = pathname.slice(1).split('/');
    const file = name ?? (folder || 'index.html');
    response.setHeader('content-type', TYPES[file.split('.').at(-1)!] ?? 'application/octet-stream');
    if (searchParams.has('isolated')) response.setHeader('cross-origin-opener-policy', 'same-origin');
    // a worker that shares memory needs it like its page
    if (pathname !== '/' || searchParams.has('isolated')) {
      response.setHeader('cross-origin-embedder-policy', 'require-corp');
    }
    const policy = searchParams.get('csp');
    if (policy !== null) response.setHeader('content-security-policy', policy);
    const known = pathname === '/' ? PAGE : scripts.get(file);
    if (known !== undefined) {
      response.end(known);
      return;
    }
    readFile(join(FOLDERS[folder!] ?? '/nowhere', file)).then(
      (contents) => response.end(contents),
      () => response.writeHead(404).end(),
    );
  };
}

/** A server of its own for such pages. */
export async function servePage(
  scripts: ReadonlyMap<string, string>,
): Promise<{ readonly origin: string; close(): void }> {
  const server = createServer(pageListener(scripts));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
