import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { expectFailure, expectSuccess, raccoon, start } from '../helpers/cli.ts';
import { built } from '../helpers/paths.ts';

built('packages/web/dist/site/index.html');

const LISTEN = ['--listen', '127.0.0.1:0', '--workers', '1'];

test('raccoon web serves page and endpoint on one port, says where, and drains', async () => {
  const running = start(['web', ...LISTEN]);
  const printed = await running.printed(/\n/);
  const [, url] = /on (http:\/\/127\.0\.0\.1:[1-9]\d*\/) Ctrl-C/.exec(printed)!;
  const page = await fetch(url!);
  expect(await page.text()).toContain('<title>Raccoon');
  expect(page.headers.get('cross-origin-embedder-policy')).toBe('require-corp');
  const runtime = await fetch(`${url}runtime/ort-wasm-simd-threaded.wasm`, { method: 'HEAD' });
  expect(runtime.headers.get('content-type')).toBe('application/wasm');
  expect((await fetch(`${url}raccoon/v1/bundle`)).status).toBe(200);
  expect((await fetch(`${url}no-such-file`)).status).toBe(404);
  running.child.kill('SIGTERM');
  const ended = await running.ended;
  expectSuccess(ended);
  expect(ended.stdout).toMatch(/draining\n$/);
});

test('what keeps it from starting is one line', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as { port: number };
  const [noPort, open, halfTls] = await Promise.all([
    raccoon(['web', '--listen', `127.0.0.1:${port}`, '--workers', '1']),
    raccoon(['web', '--listen', '0.0.0.0:0']),
    raccoon(['web', '--tls-cert', 'web.pem']),
  ]);
  expectFailure(noPort, /port taken/);
  expectFailure(open, /open to other machines.*--insecure/);
  expectFailure(halfTls, /--tls-cert and --tls-key belong together/);
});
