import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { RansTables, encode } from '@raccoon/rans-coder';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../helpers/paths.ts';
import { examplesOf } from '../helpers/readme.ts';
import { executable, where } from './chromium.ts';

// The package as npm packs and installs it, in a browser's page, straight from its files: no bundler, no network.

const PACKAGE = '@raccoon/rans-coder';
const DIST = `/node_modules/${PACKAGE}/dist`;
const IMPORTS = { [PACKAGE]: `${DIST}/index.js`, [`${PACKAGE}/compressai`]: `${DIST}/compressai/index.js` };

const WASM_FORBIDDEN = "script-src 'self' 'nonce-map'";
const WASM_ALLOWED = `${WASM_FORBIDDEN} 'wasm-unsafe-eval'`;

/** The last thing that a page prints. */
const DONE = 'done';
const LIMIT_MS = 120_000; // for something that hangs; it all takes seconds

const start = promisify(execFile);
describe.skipIf(executable === undefined)(`in headless Chromium (${where})`, () => {
  let folder = '';
  let server: Server;
  let browser: Browser;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'raccoon-browser-'));
    const pack = ['pack', '--json', '--pack-destination', folder, '--workspace=packages/rans-coder'];
    const packed = JSON.parse((await start('npm', pack, { cwd: root })).stdout) as { filename: string }[];
    await writeFile(join(folder, 'package.json'), '{ "private": true }\n');
    const install = ['install', '--offline', '--no-audit', '--no-fund', `./${packed[0]!.filename}`];
    await start('npm', install, { cwd: folder });
    server = await serve(folder);
    browser = await chromium.launch({ executablePath: executable! });
  }, LIMIT_MS);

  afterAll(async () => {
    await browser?.close();
    server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** What a module prints on a page under a policy, errors of the page included. */
  async function run(program: string, policy: string): Promise<string[]> {
    await writeFile(join(folder, 'program.js'), program);
    const page = await browser.newPage();
    const printed: string[] = [];
    page.on('console', (message) => printed.push(message.text()));
    page.on('pageerror', (error) => printed.push(error.message));
    const done = page.waitForEvent('console', (message) => message.text() === DONE);
    const { port } = server.address() as AddressInfo;
    await Promise.all([done, page.goto(`http://127.0.0.1:${port}/?${new URLSearchParams({ policy })}`)]);
    await page.close();
    return printed.filter((line) => line !== DONE);
  }

  test('every example of the README prints what it says', async () => {
    const readme = await readFile(join(folder, 'node_modules', PACKAGE, 'README.md'), 'utf8');
    const examples = examplesOf(readme);
    expect(examples).not.toEqual([]);
    for (const { code, prints } of examples) expect(await run(code, WASM_ALLOWED)).toEqual(prints);
  });

  test.each([
    { policy: WASM_ALLOWED, engines: 'wasm,plain' },
    { policy: WASM_FORBIDDEN, engines: 'plain' },
  ])(
    'under "$policy" its engines are $engines, and the bytes are those of Node',
    async ({ policy, engines }) => {
      const { symbols, runs, tables } = latent(RansTables);
      const bytes = encode(symbols, runs, tables);
      const printed = await run(
        `import { RansTables, decode, encode, engines } from '${PACKAGE}';
      const { symbols, runs, tables } = (${latent.toString()})(RansTables);
      const bytes = encode(symbols, runs, tables);
      const decoded = decode(bytes, runs, tables);
      console.log(engines().join());
      console.log(bytes.join());
      console.log(decoded.every((symbol, i) => symbol === symbols[i]));`,
        policy,
      );
      expect(printed.at(-3)).toBe(engines); // behind what the browser says about a policy that forbids something
      expect(printed.at(-2)).toBe(bytes.join());
      expect(printed.at(-1)).toBe('true');
    },
  );
});

/** Sixteen channels from nearly all zeros to widely spread, with escapes: kilobytes in four lanes. Also runs in the page. */
function latent(Tables: typeof RansTables): {
  symbols: Int16Array;
  runs: { tables: Uint16Array; length: number };
  tables: RansTables;
} {
  const channels = 16;
  const length = 784;
  const distributions = Array.from({ length: channels }, (_, c) => {
    const other = 1 + 600 * c;
    return { offset: -2, frequencies: [other, 2 * other, 65536 - 7 * other, 2 * other, other, other] };
  });
  let seed = 1;
  const symbols = Int16Array.from({ length: channels * length }, (_, i) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const slot = seed >>> 16;
    if (slot >= 4200 * Math.floor(i / length)) return 0;
    return slot % 8 === 0 ? slot : (slot % 5) - 2;
  });
  const runs = { tables: Uint16Array.from({ length: channels }, (_, c) => c), length };
  return { symbols, runs, tables: Tables.fromFrequencies(distributions) };
}

/** The folder's scripts, and at / a page that runs program.js under the policy that it is asked for. */
async function serve(folder: string): Promise<Server> {
  const page = `<!doctype html><link rel="icon" href="data:,">
    <script type="importmap" nonce="map">${JSON.stringify({ imports: IMPORTS })}</script>
    <script type="module" src="/program.js"></script><script type="module" src="/done.js"></script>`;
  await writeFile(join(folder, 'done.js'), `console.log('${DONE}');\n`);
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
    const policy = searchParams.get('policy');
    if (policy !== null) {
      response.setHeader('content-security-policy', policy).setHeader('content-type', 'text/html').end(page);
      return;
    }
    readFile(join(folder, pathname)).then(
      (contents) => response.setHeader('content-type', 'text/javascript').end(contents),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return server;
}
