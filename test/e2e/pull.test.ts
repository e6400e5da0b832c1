import { createReadStream, existsSync, readFileSync, statSync, writeFileSync, cpSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { expectFailure, expectSuccess, raccoon, startCloud } from '../helpers/cli.ts';
import { sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';

// How a device gets its bundle, and what becomes of it when something is wrong.

const name = 'imagenet1k-mobilenet';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
  onTestFinished(() => void vi.unstubAllEnvs());
});

/** A static web server over a folder, without ranges. */
function webServer(root: string): Promise<string> {
  const server = createServer(({ url }, response) => {
    const file = join(root, url!);
    if (existsSync(file)) createReadStream(file).pipe(response);
    else response.writeHead(404).end();
  });
  onTestFinished(() => void server.close());
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () =>
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    );
  });
}

/** A copy of the shipped bundle with another version, signed for a day by a new key. */
async function release(version: string): Promise<{ bundle: string; key: string }> {
  const bundle = join(folder, version);
  cpSync(shippedBundle, bundle, { recursive: true });
  const manifest = join(bundle, 'manifest.json');
  writeFileSync(
    manifest,
    readFileSync(manifest, 'utf8').replace(/"version": ?"[^"]*"/, `"version":"${version}"`),
  );
  const key = join(folder, `key-${version}`);
  expectSuccess(await raccoon(['bundle', 'keygen', key]));
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
  expectSuccess(await raccoon(['bundle', 'sign', bundle, '--key', `${key}.key`, '--expires', tomorrow]));
  return { bundle, key: `${key}.pub` };
}

test('a device gets its half from the cloud, signature and all, and works with it', async () => {
  const { bundle, key } = await release('9.0.0');
  const cloud = await startCloud('--bundle', bundle);
  const pull = ['bundle', 'pull', '--from', cloud.address, '--key', key, '--edge-only'];
  const first = await raccoon(pull, folder);
  expectSuccess(first);
  expect(first.stdout).toMatch(/^imagenet1k-mobilenet 9\.0\.0: [\d,]+ B fetched, now used, /);
  expect((await raccoon(pull, folder)).stdout).toMatch(/: 0 B fetched, was used already, /);
  const listed = await raccoon(['bundle', 'list', '--json'], folder);
  expect(JSON.parse(listed.stdout)).toMatchObject([{ name, version: '9.0.0' }]);
  const answered = await raccoon(['edge', sample('hen.jpg'), '--cloud', cloud.address, '--json'], folder);
  expectSuccess(answered);
  expect(JSON.parse(answered.stdout)).toMatchObject({
    bundleVersion: '9.0.0',
    top: [{ name: 'hen' }, {}, {}, {}, {}],
  });
});

test('from a web server: a newer version, and back again; a flipped byte changes nothing', async () => {
  const old = await release('9.0.0');
  const next = await release('9.1.0');
  expectSuccess(
    await raccoon(['bundle', 'pull', '--from', await webServer(old.bundle), '--key', old.key], folder),
  );
  const web = await webServer(next.bundle);
  expectFailure(
    await raccoon(['bundle', 'pull', '--from', web, '--key', old.key], folder),
    /manifest\.sig is not by a trusted key/,
  );
  expectSuccess(await raccoon(['bundle', 'pull', '--from', web, '--key', next.key], folder));
  const back = await raccoon(['bundle', 'rollback', name], folder);
  expect(back.stdout).toMatch(/^imagenet1k-mobilenet: 9\.0\.0-[0-9a-f]{12} is used now\n$/);

  const last = await release('9.2.0');
  const bytes = readFileSync(join(last.bundle, 'encoder-n0.onnx'));
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(join(last.bundle, 'encoder-n0.onnx'), bytes);
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'another')); // where no version before has the file
  expectFailure(
    await raccoon(['bundle', 'pull', '--from', await webServer(last.bundle), '--key', last.key], folder),
    /gives another encoder-n0\.onnx than its manifest names.*nothing was installed/,
  );
  expect(statSync(join(folder, 'another/raccoon/bundles', name)).isDirectory()).toBe(true);
  expect(JSON.parse((await raccoon(['bundle', 'list', '--json'], folder)).stdout)).toEqual([]);
});

test('wrong input', async () => {
  expectFailure(await raccoon(['bundle', 'pull'], folder), /--from/);
  expectFailure(
    await raccoon(['bundle', 'pull', '--from', '127.0.0.1:1'], folder),
    /127\.0\.0\.1:1.*(reach|listens|there)/,
  );
  expectFailure(await raccoon(['bundle', 'rollback', 'nobody'], folder), /was not pulled/);
  expectFailure(
    await raccoon(['bundle', 'sign', shippedBundle, '--key', 'x', '--expires', 'soon'], folder),
    /it must be a date, such as 2027-12-31/,
  );
});
