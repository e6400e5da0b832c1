import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BundleError } from '../errors.ts';
import { edgeFiles, parseManifest, type Manifest } from '../manifest.ts';
import type { RemoteBundle } from '../remote.ts';
import { generateKeys, readPublicKey, SIGNATURE_FILE, signManifest } from '../signature.ts';
import { listBundles, openBundle } from './folder.ts';
import { pullBundle, type PullOptions, type Pulled } from './pull.ts';
import { installedIn, rollBack } from './store.ts';

const shipped = join(import.meta.dirname, '../../../../bundles/imagenet1k-mobilenet');
const shippedManifest = parseManifest(readFileSync(join(shipped, 'manifest.json'), 'utf8'), shipped);
const { name } = shippedManifest;

let home: string;
let store: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'raccoon-pull-'));
  store = join(home, 'raccoon', 'bundles');
  vi.stubEnv('XDG_CACHE_HOME', home);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true });
});

interface Publisher extends RemoteBundle {
  /** [file, offset] of every fetch. */
  readonly asked: [string, number][];
}

/** The shipped bundle's files under some version, by a publisher that may do something to them. */
function publisher(
  version: string,
  change: (file: string, bytes: Uint8Array) => Uint8Array | Error = (_, bytes) => bytes,
  signature?: Uint8Array<ArrayBuffer>,
): Publisher {
  const asked: [string, number][] = [];
  return {
    origin: 'the publisher',
    asked,
    manifest: () => Promise.resolve(manifestBytes(version)),
    signature: () => Promise.resolve(signature),
    async *fetch(file, offset) {
      asked.push([file, offset]);
      const given = change(file, readFileSync(join(shipped, file)).subarray(offset));
      const bytes =
        given instanceof Error ? readFileSync(join(shipped, file)).subarray(offset, offset + 1000) : given;
      for (let at = 0; at < bytes.length; at += 65_536)
        yield await Promise.resolve(bytes.subarray(at, at + 65_536));
      if (given instanceof Error) throw given;
    },
  };
}

function manifestBytes(version: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify({ ...shippedManifest, version } satisfies Manifest));
}

const pull = (remote: RemoteBundle, options: PullOptions = {}): Promise<Pulled> =>
  pullBundle(remote, { edgeOnly: true, ...options });

const edgeBytes = edgeFiles(shippedManifest).reduce(
  (sum, file) => sum + shippedManifest.files[file]!.bytes,
  0,
);
const used = async (): Promise<string> => (await openBundle(name, home)).manifest.version;

test('an edge half is fetched, found by its name, and fetched once', async () => {
  const progress: number[] = [];
  const remote = publisher('1.0.0');
  const pulled = await pull(remote, { onProgress: (done, total) => progress.push(done / total) });
  expect(pulled).toMatchObject({ fetchedBytes: edgeBytes, switched: true });
  expect(readdirSync(pulled.folder).toSorted()).toEqual(
    [...edgeFiles(shippedManifest), 'manifest.json'].toSorted(),
  );
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  expect(progress.at(-1)).toBe(1);
  expect(await listBundles(home)).toEqual([pulled.folder]);
  expect(await used()).toBe('1.0.0');

  remote.asked.length = 0;
  expect(await pull(remote)).toMatchObject({ fetchedBytes: 0, switched: false });
  expect(remote.asked).toEqual([]);
});

test('all of it, where the half was; and the half, where all of it is', async () => {
  await pull(publisher('1.0.0'));
  const all = publisher('1.0.0');
  const pulled = await pull(all, { edgeOnly: false });
  expect(all.asked.map(([file]) => file).toSorted()).toEqual([
    'classifier.onnx',
    'decoder.onnx',
    'stem.onnx',
  ]);
  expect(pulled.switched).toBe(false);
  await pull(publisher('1.0.0'));
  expect(existsSync(join(pulled.folder, 'classifier.onnx'))).toBe(true);
});

test('a download that broke goes on where it stopped', async () => {
  const broken = publisher('1.0.0', (file, bytes) =>
    file === 'encoder-n8.onnx' ? new BundleError('unreachable', 'the link broke') : bytes,
  );
  await expect(pull(broken)).rejects.toMatchObject({ code: 'unreachable' });
  expect(await listBundles(home)).toEqual([]);
  const whole = publisher('1.0.0');
  await pull(whole);
  expect(whole.asked).toContainEqual(['encoder-n8.onnx', 1000]);
  expect(whole.asked.map(([file]) => file)).not.toContain('encoder-n0.onnx'); // it was whole
  expect(await used()).toBe('1.0.0');
});

test('what was there of a broken download and is damaged is fetched again from its start', async () => {
  const flipped = publisher('1.0.0', (file, bytes) =>
    file === 'tables.bin' ? Uint8Array.from(bytes.subarray(0, 5000), (byte) => byte ^ 1) : bytes,
  );
  await expect(pull(flipped)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/after 5000 of/),
  });
  const whole = publisher('1.0.0');
  await pull(whole);
  expect(whole.asked.filter(([file]) => file === 'tables.bin')).toEqual([
    ['tables.bin', 5000],
    ['tables.bin', 0],
  ]);
});

const flip = (file: string, bytes: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(bytes);
  if (file === 'tables.bin') copy[1234]! ^= 1;
  return copy;
};
const longer = (file: string, bytes: Uint8Array): Uint8Array =>
  file === 'tables.bin' ? Buffer.concat([bytes, Buffer.from('!')]) : bytes;
const noTables = (version: string): RemoteBundle => ({
  ...publisher(version),
  manifest: () => Promise.resolve(new TextEncoder().encode('{')),
});

describe('whatever goes wrong, the version that was used stays', () => {
  test.each<[string, () => RemoteBundle, PullOptions, string]>([
    ['one flipped bit', () => publisher('2.0.0', flip), {}, 'file-hash'],
    ['a file that is too long', () => publisher('2.0.0', longer), {}, 'file-size'],
    ['half a manifest', () => noTables('2.0.0'), {}, 'manifest-syntax'],
    [
      'it does not run here',
      () => publisher('2.0.0'),
      { selfTest: () => Promise.reject(new Error('no operator Foo')) },
      'self-test',
    ],
    ['nobody has signed it', () => publisher('2.0.0'), { trust: [] }, 'unsigned'],
  ])('%s', async (_, remote, options, code) => {
    await pull(publisher('1.0.0'));
    // the damaged file must be fetched, not taken over from the version before
    const { folder } = await pull(publisher('1.0.0'));
    rmSync(join(folder, 'tables.bin'));
    await expect(pull(remote(), options)).rejects.toMatchObject({ code });
    expect(installedIn(join(store, name))?.active).toMatch(/^1\.0\.0-/);
    expect(readdirSync(join(store, name)).filter((entry) => entry.startsWith('2'))).toEqual([]);
    await pull(publisher('1.0.0')); // mends it
    expect(await used()).toBe('1.0.0');
  });

  test('the caller lost patience', async () => {
    const abort = new AbortController();
    const onProgress = (): void => abort.abort(new Error('enough'));
    await expect(pull(publisher('2.0.0'), { signal: abort.signal, onProgress })).rejects.toThrow('enough');
    expect(await listBundles(home)).toEqual([]);
  });
});

test('a newer version takes over what is the same, is tried, and can be taken back', async () => {
  const first = await pull(publisher('1.0.0'));
  const tried: string[] = [];
  const selfTest: PullOptions['selfTest'] = (bundle) => {
    tried.push(bundle.manifest.version);
    return Promise.resolve();
  };
  expect(await pull(publisher('2.0.0'), { selfTest })).toMatchObject({ fetchedBytes: 0, switched: true });
  expect(tried).toEqual(['2.0.0']);
  expect(await used()).toBe('2.0.0');
  expect((await rollBack(name)).active).toMatch(/^1\.0\.0-/);
  expect(await used()).toBe('1.0.0');
  await rollBack(name);
  expect(await used()).toBe('2.0.0');

  await pull(publisher('3.0.0'));
  expect(existsSync(first.folder)).toBe(false); // two versions are enough
  await rollBack(name);
  expect(await used()).toBe('2.0.0');
});

test('nothing to go back to', async () => {
  await expect(rollBack('nobody')).rejects.toMatchObject({
    code: 'store',
    message: expect.stringMatching(/was not pulled/),
  });
  await pull(publisher('1.0.0'));
  await expect(rollBack(name)).rejects.toMatchObject({
    code: 'store',
    message: expect.stringMatching(/no version .* before 1\.0\.0/),
  });
});

test('a version that is damaged later gives way to the one before it', async () => {
  await pull(publisher('1.0.0'));
  const { folder } = await pull(publisher('2.0.0'));
  const file = join(folder, 'encoder-n8.onnx');
  const bytes = readFileSync(file);
  bytes[5000]! ^= 1;
  writeFileSync(file, bytes);
  const told: string[] = [];
  const bundle = await openBundle(name, home, {
    onFallback: ({ code }, { manifest }) => told.push(`${code}: ${manifest.version}`),
  });
  expect(bundle.manifest.version).toBe('1.0.0');
  expect(told).toEqual(['file-hash: 1.0.0']);

  const { previous } = installedIn(join(store, name))!;
  rmSync(join(store, name, previous!, 'tables.bin'));
  await expect(openBundle(name, home)).rejects.toMatchObject({ code: 'file-hash' }); // of the one that was asked for
  await pull(publisher('2.0.0'));
  expect(await used()).toBe('2.0.0');
});

test('a signature is checked before anything is fetched, and kept', async () => {
  const { publicKey, privateKey } = await generateKeys();
  const trust = [await readPublicKey(publicKey, 'key')];
  const sign = (expires?: Date): Promise<Uint8Array<ArrayBuffer>> =>
    signManifest(manifestBytes('1.0.0'), privateKey, 'key', expires);
  const ended = publisher('1.0.0', undefined, await sign(new Date('2020-01-01')));
  await expect(pull(ended, { trust })).rejects.toMatchObject({
    code: 'expired',
    message: expect.stringMatching(/ended 2020-01-01.*sign it again.*this machine's clock/),
  });
  expect(ended.asked).toEqual([]);

  const signature = await sign(new Date('2999-01-01'));
  const { folder } = await pull(publisher('1.0.0', undefined, signature), { trust });
  expect(new Uint8Array(readFileSync(join(folder, SIGNATURE_FILE)))).toEqual(signature);
  const other = publisher('1.0.1', undefined, signature);
  await expect(pull(other, { trust })).rejects.toMatchObject({ code: 'signature' });
});

test('store: a live process is not disturbed, a dead one is', async () => {
  const folder = join(store, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'lock'), String(process.ppid));
  await expect(pull(publisher('1.0.0'))).rejects.toMatchObject({
    code: 'store',
    message: expect.stringMatching(new RegExp(`process ${process.ppid} is working on`)),
  });
  const { pid } = spawnSync(process.execPath, ['--version']);
  writeFileSync(join(folder, 'lock'), String(pid));
  await pull(publisher('1.0.0'));
  expect(await used()).toBe('1.0.0');
  expect(existsSync(join(folder, 'lock'))).toBe(false);
});

test('store: damaged, or no folder', async () => {
  await pull(publisher('1.0.0'));
  writeFileSync(join(store, name, 'active.json'), '{"active":"../../etc"}');
  await expect(openBundle(name, home)).rejects.toMatchObject({
    code: 'store',
    message: expect.stringMatching(/is damaged: remove it/),
  });
  writeFileSync(join(home, 'file'), '');
  await expect(pull(publisher('1.0.0'), { store: join(home, 'file') })).rejects.toMatchObject({
    code: 'store',
  });
});
