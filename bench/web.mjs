// The page: bytes and milliseconds to the first answer, and its stages beside Node's on the same photo, in turn.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { connect } from '../packages/client/dist/index.js';
import { startCloud } from '../packages/cloud/dist/index.js';
import { openPage } from '../packages/web/dist/index.js';
import { root } from '../scripts/setup.mjs';
import { median } from './median.mjs';

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
if (!existsSync(executablePath)) {
  console.log(`web: skipped, there is no ${executablePath}; CHROMIUM_PATH may name a browser`);
  process.exit();
}
const VISITS = 5;
const PHOTOS = 40;
const PHOTO = 'red-panda';
const STAGES = ['image', 'encoder', 'codec', 'link', 'cloud'];

const cloud = await startCloud({
  bundle: join(root, 'bundles/imagenet1k-mobilenet'),
  listen: '127.0.0.1:0',
  httpListen: '127.0.0.1:0',
  httpFallback: await openPage(),
  workers: 1,
});
const url = `http://${cloud.httpAddress}/`;
const browser = await chromium.launch({ executablePath });

/** The page's own files, compressed where that is served: html, scripts, styles, type. Playwright does not see a worker's script. */
function pageBytes() {
  const site = join(root, 'packages/web/dist/site');
  const names = readdirSync(join(site, 'assets')).map((name) => join('assets', name));
  return ['index.html', ...names]
    .filter((name) => !/\.(br|gz)$/.test(name))
    .map((name) => join(site, name))
    .map((file) => statSync(`${file}.br`, { throwIfNoEntry: false })?.size ?? statSync(file).size)
    .reduce((sum, size) => sum + size);
}

/** What a file is part of. */
function kindOf(path) {
  if (path.includes('/raccoon/v1/bundle')) return 'bundle: manifest, tables, encoder';
  if (path.includes('/raccoon/v1/')) return 'answers';
  if (path.startsWith('/runtime/')) return 'ONNX Runtime';
  return path.startsWith('/samples/') ? 'sample photos' : 'page';
}

async function visit(context) {
  const page = await context.newPage();
  const sizes = [];
  page.on('requestfinished', (request) => {
    sizes.push(
      request
        .sizes()
        .then(({ responseBodySize }) => [kindOf(new URL(request.url()).pathname), responseBodySize]),
    );
  });
  const start = performance.now();
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector('#said').textContent.includes('from the cloud'));
  const ms = performance.now() - start;
  const bytes = {};
  for (const [kind, size] of await Promise.all(sizes)) bytes[kind] = (bytes[kind] ?? 0) + size;
  return { page, ms, bytes };
}

const first = [];
const again = [];
let bytes;
for (let i = 0; i < VISITS; i++) {
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const fresh = await visit(context);
  bytes = fresh.bytes;
  first.push(fresh.ms);
  await fresh.page.waitForTimeout(1000);
  await fresh.page.close();
  again.push((await visit(context)).ms);
  await context.close();
}
bytes.page = pageBytes();
console.log('bytes until the first answer, as they were sent');
for (const [kind, size] of Object.entries(bytes))
  console.log(`  ${kind.padEnd(36)}${size.toLocaleString('en-US').padStart(12)}`);
console.log(
  `first visit to the first answer, median of ${VISITS}: ${median(first).toFixed(0)} ms; second visit ${(median(again) / median(first)).toFixed(2)} of that`,
);

const node = await connect({
  cloud: cloud.address,
  bundle: join(root, 'bundles/imagenet1k-mobilenet'),
  threads: 1,
});
const context = await browser.newContext({ serviceWorkers: 'block' });
const { page } = await visit(context);
const photo = await readFile(join(root, 'samples', `${PHOTO}.jpg`));
const rows = { page: [], node: [] };
for (let i = 0; i < PHOTOS; i++) {
  const { imageMs, encodeMs, roundTripMs, queueMs, decodeMs, inferMs } = await node.classify(
    new Uint8Array(photo),
  );
  const cloudMs = queueMs + decodeMs + inferMs;
  rows.node.push({
    image: imageMs,
    'encoder and codec': encodeMs,
    link: roundTripMs - cloudMs,
    cloud: cloudMs,
  });
  await page.evaluate(() => document.querySelector('#total').replaceChildren());
  await page.getByRole('button', { name: PHOTO.replace('-', ' ') }).click();
  await page.waitForFunction(() => document.querySelector('#total').textContent !== '');
  const ms = await page.evaluate(
    (stages) =>
      Object.fromEntries(
        [...document.querySelectorAll('#times dd:last-child')].map((dd, at) => [
          stages[at],
          Number.parseFloat(dd.textContent),
        ]),
      ),
    STAGES,
  );
  rows.page.push({
    image: ms.image,
    'encoder and codec': ms.encoder + ms.codec,
    link: ms.link,
    cloud: ms.cloud,
  });
}
console.log(`ms per stage, ${PHOTO}.jpg, n=8 q=2, one thread, medians of ${PHOTOS}`);
for (const stage of Object.keys(rows.page[0])) {
  const [a, b] = [rows.page, rows.node].map((all) => median(all.map((row) => row[stage])));
  console.log(
    `  ${stage.padEnd(20)}page ${a.toFixed(2).padStart(8)}   Node ${b.toFixed(2).padStart(8)}   ${(a / b).toFixed(1)} x`,
  );
}
await node.close();
await browser.close();
await cloud.close();
