import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeys, parseManifest, readPublicKey, signManifest, type PublicKey } from '@raccoon/bundle';
import { findBundle, openBundle } from '@raccoon/bundle/node';
import { codecId } from '@raccoon/codec';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest';
import { createLog } from './log.ts';
import type { Model, ModelHost } from './model.ts';
import { compareVersions, Repository, type RepositoryOptions } from './repository.ts';

// The bundle that ships, copied under other versions, with networks of a few bytes: the host here runs none, it keeps
// what workers would be told.

const NAME = 'imagenet1k-mobilenet';
const shipped = findBundle(NAME);
const CODEC = parseManifest(readFileSync(join(shipped, 'manifest.json'), 'utf8'), shipped).codecs[0]!.id;

let small: string;
beforeAll(() => {
  small = mkdtempSync(join(tmpdir(), 'raccoon-small-'));
  cpSync(shipped, small, { recursive: true });
  const manifest = parseManifest(readFileSync(join(shipped, 'manifest.json'), 'utf8'), shipped);
  for (const file of Object.keys(manifest.files).filter((name) => name.endsWith('.onnx'))) {
    const bytes = Buffer.from(`the network ${file}`);
    writeFileSync(join(small, file), bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    manifest.files[file] = { bytes: bytes.length, sha256 };
  }
  writeFileSync(join(small, 'manifest.json'), JSON.stringify(manifest));
});
afterAll(() => rmSync(small, { recursive: true }));

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'raccoon-repository-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** Remembers which models it has; refuses those that `refuse` says. */
class Host implements ModelHost {
  readonly loaded: string[] = [];
  readonly done: string[] = [];
  refuse: (model: Model) => boolean = () => false;
  /** Requests that hold up an unload. */
  busy: Promise<void> | undefined;

  load(model: Model): Promise<void> {
    this.done.push(`load ${model.key}`);
    if (this.refuse(model)) return Promise.reject(new Error('a worker cannot load it'));
    this.loaded.push(model.key);
    return Promise.resolve();
  }

  async unload(key: string): Promise<void> {
    await this.busy;
    this.done.push(`unload ${key}`);
    this.loaded.splice(this.loaded.indexOf(key), 1);
  }
}

/** The shipped bundle under another version, and with `latentSpaceId` under another codec; manifest last. */
async function put(folder: string, version: string, changes: { name?: string; latentSpaceId?: string } = {}) {
  const path = join(root, folder);
  mkdirSync(path, { recursive: true });
  const file = 'manifest.json';
  cpSync(small, path, { recursive: true, filter: (from) => !from.endsWith(file) });
  const manifest = parseManifest(readFileSync(join(small, file), 'utf8'), small);
  Object.assign(manifest, { version }, changes);
  if (changes.latentSpaceId) {
    manifest.codecs.length = 1; // those of older versions are of the same latent space
    const tables = readFileSync(join(small, manifest.codecs[0]!.tables));
    manifest.codecs[0]!.id = await codecId(tables, changes.latentSpaceId);
  }
  writeFileSync(join(path, file), JSON.stringify(manifest));
  return { path, codec: manifest.codecs[0]!.id };
}

function setUp(options: Partial<RepositoryOptions> = {}) {
  const host = new Host();
  const lines: string[] = [];
  const log = createLog('info', { write: (line) => void lines.push(line) });
  const repository = new Repository({ host, log, bundles: [], folder: root, ...options });
  onTestFinished(() => repository.close());
  const states = (): string[] => repository.status().map(({ version, state }) => `${version} ${state}`);
  return { host, lines, repository, states };
}

/** What happens in the background after a swap. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const version = (model: Model | undefined): string | undefined => model?.bundle.manifest.version;

test('versions are numbers', () => {
  expect(['0.10.0', '0.9.1', '1.0.0', '0.9.0'].toSorted(compareVersions)).toEqual([
    '0.9.0',
    '0.9.1',
    '0.10.0',
    '1.0.0',
  ]);
  expect(compareVersions('1.2.3', '1.2.3')).toBe(0);
});

test('a bundle of the command line, given, named or by path', async () => {
  const given = await openBundle(NAME);
  for (const bundle of [given, NAME, shipped]) {
    const { repository, host } = setUp({ bundles: [bundle], folder: undefined });
    await repository.open();
    const { version: shippedVersion } = given.manifest;
    expect(host.loaded).toEqual([`${NAME}@${shippedVersion}`]);
    expect(repository.all.map(({ key }) => key)).toEqual(host.loaded);
    expect(repository.named('')?.key).toBe(host.loaded[0]);
    expect(repository.named(NAME)?.key).toBe(host.loaded[0]);
    expect(repository.named('other')).toBeUndefined();
    expect(repository.withCodec(CODEC)?.key).toBe(host.loaded[0]);
    expect(repository.withCodec('000000000000')).toBeUndefined();
    expect(await repository.reload()).toMatchObject([{ state: 'ready' }]);
  }
});

test('a folder: name/ and name/version/, the newest of each; unfinished copies are not looked at', async () => {
  await put('a', '0.9.0');
  await put('a-again', '0.10.0');
  await put('b/1.0.0', '1.0.0', { name: 'b', latentSpaceId: 'b'.repeat(32) });
  await put('b/2.0.0', '2.0.0', { name: 'b', latentSpaceId: 'b'.repeat(32) });
  await put('.incoming', '9.0.0');
  writeFileSync(join(root, 'README.md'), '');
  const { repository, host } = setUp();
  await repository.open();
  expect(host.loaded.toSorted()).toEqual([`${NAME}@0.10.0`, 'b@2.0.0'].toSorted());
  expect(repository.all.map(({ key }) => key)).toEqual([`${NAME}@0.10.0`, 'b@2.0.0']);
  expect(repository.status().map(({ name, version: of, state }) => [name, of, state])).toEqual([
    [NAME, '0.10.0', 'ready'],
    ['b', '2.0.0', 'ready'],
    [NAME, '0.9.0', 'superseded'],
    ['b', '1.0.0', 'superseded'],
  ]);
  expect(repository.loads).toBe(2);
});

test('a newer version takes over, and the older is unloaded once its last request is answered', async () => {
  const changes = vi.fn();
  await put('one', '1.0.0');
  const { repository, host, states } = setUp({ onChange: changes });
  await repository.open();
  expect(changes).toHaveBeenCalledTimes(1);
  const request = new AbortController(); // which the old version answers
  host.busy = new Promise((resolve) => request.signal.addEventListener('abort', () => resolve()));
  await put('two', '2.0.0');
  await repository.reload();
  expect(version(repository.withCodec(CODEC))).toBe('2.0.0');
  expect(states()).toEqual(['2.0.0 ready', '1.0.0 unloading']);
  expect(changes).toHaveBeenCalledTimes(2);
  request.abort();
  await settled();
  expect(host.done).toEqual([`load ${NAME}@1.0.0`, `load ${NAME}@2.0.0`, `unload ${NAME}@1.0.0`]);
  expect(states()).toEqual(['2.0.0 ready', '1.0.0 superseded']);
});

test('an older version stays while it accepts a codec that the newer does not', async () => {
  const old = await put('one', '1.0.0');
  const { repository, host } = setUp();
  await repository.open();
  const newer = await put('two', '2.0.0', { latentSpaceId: '2'.repeat(32) });
  await repository.reload();
  expect(version(repository.named(NAME))).toBe('2.0.0');
  expect(version(repository.withCodec(old.codec))).toBe('1.0.0');
  expect(version(repository.withCodec(newer.codec))).toBe('2.0.0');
  expect(repository.all.map(version)).toEqual(['2.0.0']);
  // and goes with its folder
  rmSync(old.path, { recursive: true });
  await repository.reload();
  await settled();
  expect(repository.withCodec(old.codec)).toBeUndefined();
  expect(host.loaded).toEqual([`${NAME}@2.0.0`]);
});

describe('whatever is wrong with a new version, the old one is kept, and it is said', () => {
  const wrong: [string, string, (path: string) => void][] = [
    ['a file cut short', 'file-size', (path) => truncateSync(join(path, 'classifier.onnx'), 10)],
    [
      'a bit of a file',
      'file-hash',
      (path) => {
        const bytes = readFileSync(join(path, 'decoder.onnx'));
        bytes[5]! ^= 1;
        writeFileSync(join(path, 'decoder.onnx'), bytes);
      },
    ],
    ['a file that is missing', 'file-missing', (path) => rmSync(join(path, 'encoder-n0.onnx'))],
    [
      'a manifest that is not JSON',
      'manifest-syntax',
      (path) => writeFileSync(join(path, 'manifest.json'), '{'),
    ],
    [
      'another format',
      'manifest-version',
      (path) => writeFileSync(join(path, 'manifest.json'), '{"formatVersion":9}'),
    ],
  ];
  test.each(wrong)('%s', async (_, code, spoil) => {
    await put('one', '1.0.0');
    const { repository, host, lines } = setUp();
    await repository.open();
    const { path } = await put('two', '2.0.0');
    spoil(path);
    const status = await repository.reload();
    expect(version(repository.withCodec(CODEC))).toBe('1.0.0');
    expect(host.loaded).toEqual([`${NAME}@1.0.0`]);
    expect(status.find(({ state }) => state === 'failed')).toMatchObject({
      origin: path,
      loaded: false,
      error: expect.stringContaining('two'),
    });
    expect(repository.failures).toEqual(new Map([[code, 1]]));
    expect(lines.at(-1)).toContain(`"code":"${code}"`);
    // repaired, it is taken
    rmSync(path, { recursive: true });
    await put('two', '2.0.0');
    await repository.reload();
    expect(version(repository.withCodec(CODEC))).toBe('2.0.0');
    expect(repository.status().filter(({ state }) => state === 'failed')).toEqual([]);
  });

  test('a worker that cannot load it', async () => {
    await put('one', '1.0.0');
    const { repository, host, states } = setUp();
    await repository.open();
    await put('two', '2.0.0');
    host.refuse = ({ bundle }) => bundle.manifest.version === '2.0.0';
    await repository.reload();
    expect(states()).toEqual(['1.0.0 ready', '2.0.0 failed']);
    expect(repository.failures).toEqual(new Map([['worker', 1]]));
    host.refuse = () => false;
    await repository.reload(); // an operator who asks again means it
    await settled();
    expect(states()).toEqual(['2.0.0 ready', '1.0.0 superseded']);
  });

  test('the same folder, overwritten with something broken, and then with something good', async () => {
    const { path } = await put('one', '1.0.0');
    const { repository, host, states } = setUp();
    await repository.open();
    await put('one', '2.0.0');
    truncateSync(join(path, 'decoder.onnx'), 10);
    await repository.reload();
    expect(version(repository.withCodec(CODEC))).toBe('1.0.0');
    expect(states()).toEqual(['1.0.0 ready', '2.0.0 failed']);
    await put('one', '2.0.0');
    await repository.reload();
    await settled();
    expect(host.loaded).toEqual([`${NAME}@2.0.0`]);
    expect(states()).toEqual(['2.0.0 ready']);
  });

  test('the manifest gone: half of a copy, not the end of it', async () => {
    const { path } = await put('one', '1.0.0');
    const { repository } = setUp();
    await repository.open();
    rmSync(join(path, 'manifest.json'));
    await repository.reload();
    expect(version(repository.withCodec(CODEC))).toBe('1.0.0');
  });

  test('the whole repository away for a moment', async () => {
    await put('one', '1.0.0');
    const { repository, lines } = setUp();
    await repository.open();
    renameSync(root, `${root}-away`);
    await repository.reload();
    expect(version(repository.withCodec(CODEC))).toBe('1.0.0');
    expect(lines.join('')).toContain('cannot be read');
    renameSync(`${root}-away`, root);
  });
});

test('one version changed in its place is loaded again, under another key', async () => {
  await put('one', '1.0.0');
  const { repository, host } = setUp();
  await repository.open();
  await put('one', '1.0.0', { latentSpaceId: '1'.repeat(32) });
  await repository.reload();
  await settled();
  expect(host.done).toEqual([`load ${NAME}@1.0.0`, `load ${NAME}@1.0.0#2`, `unload ${NAME}@1.0.0`]);
});

test('watching: a folder is taken once it no longer changes, never half-written', async () => {
  await put('one', '1.0.0');
  const { repository, host } = setUp();
  await repository.open();
  repository.watch(20);
  // everything but the manifest
  const { path } = await put('.two', '2.0.0');
  const manifest = readFileSync(join(path, 'manifest.json'));
  rmSync(join(path, 'manifest.json'));
  renameSync(path, join(root, 'two'));
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(repository.status().map(({ state }) => state)).toEqual(['ready']);
  writeFileSync(join(root, 'two', 'manifest.json'), manifest);
  await vi.waitUntil(() => version(repository.withCodec(CODEC)) === '2.0.0', { timeout: 20_000 });
  expect(repository.failures.size).toBe(0);
  // and one that goes away is let go
  rmSync(join(root, 'two'), { recursive: true });
  await vi.waitUntil(() => version(repository.withCodec(CODEC)) === '1.0.0', { timeout: 20_000 });
  expect(host.done.at(-1)).toBe(`unload ${NAME}@2.0.0`);
});

describe('signatures', () => {
  let key: PublicKey;
  let sign: (path: string) => Promise<void>;
  beforeEach(async () => {
    const { publicKey, privateKey } = await generateKeys();
    key = await readPublicKey(publicKey, 'key');
    sign = async (path) => {
      const manifest = Uint8Array.from(readFileSync(join(path, 'manifest.json')));
      writeFileSync(join(path, 'manifest.sig'), await signManifest(manifest, privateKey, 'key'));
    };
  });

  test('only what a trusted key has signed is served', async () => {
    await sign((await put('one', '1.0.0')).path);
    const { repository } = setUp({ trust: [key] });
    await repository.open();
    const { path } = await put('two', '2.0.0');
    await repository.reload();
    expect(repository.failures).toEqual(new Map([['unsigned', 1]]));
    cpSync(join(root, 'one', 'manifest.sig'), join(path, 'manifest.sig'));
    await repository.reload();
    expect(repository.failures.get('signature')).toBe(1);
    expect(version(repository.withCodec(CODEC))).toBe('1.0.0');
    await sign(path);
    await repository.reload();
    expect(version(repository.withCodec(CODEC))).toBe('2.0.0');
  });

  test('an unsigned bundle of the command line is no start', async () => {
    const { repository } = setUp({ trust: [key], bundles: [NAME], folder: undefined });
    await expect(repository.open()).rejects.toMatchObject({ code: 'unsigned' });
  });
});

describe('nothing to serve is no start', () => {
  test('an empty folder', async () => {
    await expect(setUp().repository.open()).rejects.toMatchObject({ code: 'no-bundle' });
  });

  test('a folder of bad bundles says what is wrong with the first', async () => {
    const { path } = await put('one', '1.0.0');
    truncateSync(join(path, 'decoder.onnx'), 10);
    await expect(setUp().repository.open()).rejects.toThrow(
      /no bundle to serve in .*decoder\.onnx has 10 bytes/,
    );
  });

  test('a bundle of the command line that is bad, beside good ones', async () => {
    await put('one', '1.0.0');
    await expect(setUp({ bundles: ['nobody'] }).repository.open()).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});

describe('load and unload, as admin calls do', () => {
  test('a bundle from elsewhere, and again without it', async () => {
    await put('one', '1.0.0');
    const other = await put('elsewhere/deep/other', '3.0.0', {
      name: 'other',
      latentSpaceId: '3'.repeat(32),
    });
    const { repository } = setUp();
    await repository.open();
    expect(repository.named('other')).toBeUndefined();
    await repository.load(other.path);
    expect(version(repository.named('other'))).toBe('3.0.0');
    await repository.unload('other');
    expect(repository.named('other')).toBeUndefined();
    expect(repository.withCodec(other.codec)).toBeUndefined();
    await repository.reload();
    expect(repository.named('other')).toBeUndefined(); // it stays unloaded
    await repository.load(other.path);
    expect(version(repository.named('other'))).toBe('3.0.0');
  });

  test('a version is taken back: the one before it is served again', async () => {
    await put('one', '1.0.0');
    await put('two', '2.0.0');
    const { repository, states } = setUp();
    await repository.open();
    expect(version(repository.withCodec(CODEC))).toBe('2.0.0');
    await repository.unload(NAME, '2.0.0');
    await settled();
    expect(version(repository.withCodec(CODEC))).toBe('1.0.0');
    expect(states()).toEqual(['1.0.0 ready', '2.0.0 unloaded']);
  });

  test('what is wrong is said to whoever asked', async () => {
    const { path } = await put('one', '1.0.0');
    const { repository } = setUp();
    await repository.open();
    await expect(repository.load('nobody')).rejects.toMatchObject({ code: 'not-found' });
    await expect(repository.unload('nobody')).rejects.toMatchObject({ code: 'no-bundle' });
    await expect(repository.unload(NAME, '9.9.9')).rejects.toThrow(`${NAME} 9.9.9`);
    const bad = await put('else/where/bad', '4.0.0');
    truncateSync(join(bad.path, 'decoder.onnx'), 10);
    await expect(repository.load(bad.path)).rejects.toMatchObject({ code: 'file-size' });
    expect(repository.status()).toMatchObject([{ origin: path, state: 'ready' }]);
  });
});
