import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { examplesOf } from '../helpers/readme.ts';

// What a stranger gets: the packages as npm packs them, installed in an empty folder away from this workspace.

const root = resolve(import.meta.dirname, '../..');
const bundle = join(root, 'bundles/imagenet1k-mobilenet');
const PACKED = ['rans-coder', 'codec', 'bundle', 'edge', 'transport', 'client'];
const LIMIT_MS = 600_000; // for something that hangs; it all takes half a minute

interface Tarball {
  name: string;
  filename: string;
  files: { path: string }[];
}

let folder = '';
let tarballs: Tarball[] = [];

async function run(command: string, args: string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { cwd, maxBuffer: 16 * 1024 * 1024 }).catch(
    (error: Error & { stdout?: string; stderr?: string }) => {
      // a compiler complains on stdout, npm on stderr
      throw new Error(`${command} ${args.join(' ')}\n${error.stdout}\n${error.stderr}`, { cause: error });
    },
  );
  return stdout;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raccoon-pack-'));
  const workspaces = PACKED.map((name) => `--workspace=packages/${name}`);
  tarballs = JSON.parse(
    await run('npm', ['pack', '--json', '--pack-destination', folder, ...workspaces], root),
  );

  await cp(join(root, 'test/pack/example'), folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const tools = ['typescript', '@types/node'].map((name) => `${name}@${devDependencies[name]}`);
  const files = tarballs.map(({ filename }) => join(folder, filename));
  // sharp and ONNX Runtime bring their binaries in their packages; nothing else is fetched
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--onnxruntime-node-install=skip'];
  await run('npm', ['install', ...quiet, ...files, ...tools], folder);
}, LIMIT_MS);

afterAll(() => rm(folder, { recursive: true, force: true }));

test('the tarballs hold what runs, its declarations and sources, and nothing else', () => {
  expect(tarballs.map(({ name }) => name)).toEqual(PACKED.map((name) => `@raccoon/${name}`));
  for (const { name, files } of tarballs) {
    const paths = files.map(({ path }) => path);
    expect(paths, name).toEqual(
      expect.arrayContaining(['package.json', 'README.md', 'dist/index.js', 'dist/index.d.ts']),
    );
    for (const path of paths) {
      expect(path, name).toMatch(/^(LICENSE|[^/]+\.(json|md)|dist\/.+(\.js|\.d\.ts)(\.map)?|src\/.+\.ts)$/);
      expect(path, name).not.toMatch(/\.test\./);
      // a source map without its source shows nothing; a compiled file without one was left over by an older build
      const source = path.replace(/^dist\/(.+?)(\.d\.ts|\.js)(\.map)?$/, 'src/$1.ts');
      expect(paths, `${name}/${path}: run npm run build`).toContain(source);
    }
  }
});

test('every file that a package.json names is in its tarball', async () => {
  for (const { name, files } of tarballs) {
    const { exports } = JSON.parse(
      await readFile(join(folder, 'node_modules', name, 'package.json'), 'utf8'),
    ) as {
      exports: Record<string, Record<string, string> | string>;
    };
    const named = Object.values(exports).flatMap((entry) =>
      typeof entry === 'string' ? entry : Object.values(entry),
    );
    expect(
      files.map(({ path }) => `./${path}`),
      name,
    ).toEqual(expect.arrayContaining(named));
  }
});

test(
  'a strict TypeScript program compiles, our declarations checked too',
  async () => {
    await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], folder);
  },
  LIMIT_MS,
);

test("every example of the entropy coder's README prints what it says", async () => {
  const readme = await readFile(join(folder, 'node_modules/@raccoon/rans-coder/README.md'), 'utf8');
  const examples = examplesOf(readme);
  expect(examples).not.toEqual([]);
  for (const [i, { code, prints }] of examples.entries()) {
    const file = join(folder, `readme-${i}.mjs`);
    await writeFile(file, code);
    expect(await run(process.execPath, [file], folder)).toBe(prints.map((line) => `${line}\n`).join(''));
  }
});

test(
  'a JavaScript program classifies a photo in a cloud',
  async () => {
    const cloud = spawn(
      process.execPath,
      [join(root, 'packages/cli/bin/raccoon.js'), 'cloud', '--bundle', bundle, '--listen', '127.0.0.1:0'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      const photo = join(root, 'samples/espresso.jpg');
      const stdout = await run(
        process.execPath,
        ['classify.mjs', await addressOf(cloud), bundle, photo],
        folder,
      );
      const { top, bytes, bpp } = JSON.parse(stdout);
      expect(top).toHaveLength(5);
      expect(top.map(({ name }: { name: string }) => name)).toContain('espresso');
      expect(bytes).toBeGreaterThan(16);
      expect(bpp).toBeCloseTo((bytes * 8) / (224 * 224), 6);
    } finally {
      const exited = once(cloud, 'exit');
      cloud.kill('SIGTERM');
      expect(await exited).toEqual([0, null]);
    }
  },
  LIMIT_MS,
);

/** The address in the line that a cloud prints once it listens. */
async function addressOf(cloud: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: cloud.stdout! })) {
    const address = /\S+:\d+(?=,)/.exec(line);
    if (address) return address[0];
  }
  throw new Error('the cloud ended before it listened');
}
