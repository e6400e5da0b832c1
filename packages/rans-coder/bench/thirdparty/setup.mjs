// Prepares the native peers in .cache: a virtual environment, ryg_rans' header, its harness, two Python packages.
// What is there already is left alone. Nothing that fails here is an error: the peer is missing, and run.mjs says why.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const here = fileURLToPath(new URL('.', import.meta.url));
export const cache = join(here, '.cache');
export const python = join(cache, '.venv', 'bin', 'python');

const VERSIONS = join(here, 'versions.txt');
const HARNESS = join(here, 'ryg.c');
const REMEDY =
  'needs Python 3.11 or newer with venv and headers, a C and C++ compiler, and PyPI; then `node packages/rans-coder/bench/thirdparty/setup.mjs`';

/** The exact version of a package, from versions.txt. */
export function versionOf(name) {
  const version = new RegExp(`^${name}==(.+)$`, 'm').exec(readFileSync(VERSIONS, 'utf8'))?.[1];
  if (version === undefined) throw new Error(`versions.txt has no line ${name}==...`);
  return version;
}

/** The harness for tables of at most `entries` entries, the escape included. */
export function rygFor(entries) {
  return join(cache, entries <= 256 ? 'ryg-uint8_t' : 'ryg-uint16_t');
}

/** Why a peer is missing, in one line; undefined if it is ready. */
export function whyMissing(peer) {
  if (existsSync(reasonFile(peer))) return readFileSync(reasonFile(peer), 'utf8');
  return existsSync(join(cache, `${peer}.done`)) ? undefined : `not set up; ${REMEDY}`;
}

/** Prepares every peer that this machine can have. Seconds to a minute the first time, then at once. */
export function setUp(log = console.error) {
  mkdirSync(cache, { recursive: true });
  const steps = stepsWith(log);
  for (const peer of ['ryg', 'compressai', 'constriction']) {
    rmSync(reasonFile(peer), { force: true });
    try {
      steps[peer]();
    } catch (error) {
      writeFileSync(reasonFile(peer), `${error.message}; ${REMEDY}`);
      log(`${peer} is missing: ${error.message}`);
    }
  }
}

function reasonFile(peer) {
  return join(cache, `${peer}.missing`);
}

/** The steps, each preceded by those it needs; it returns the digest of what it was made from. */
function stepsWith(log) {
  const failures = new Map();
  const versions = readFileSync(VERSIONS, 'utf8');

  /** Does `work` unless `.done` remembers it for the same inputs. What failed is not tried again in this process. */
  function once(step, inputs, work) {
    const digest = createHash('sha256').update(JSON.stringify(inputs)).digest('hex');
    const stamp = join(cache, `${step}.done`);
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return digest;
    const earlier = failures.get(step);
    if (earlier) throw earlier;
    log(`Preparing ${step} ...`);
    rmSync(stamp, { force: true });
    try {
      work();
    } catch (error) {
      failures.set(step, error);
      throw error;
    }
    writeFileSync(stamp, digest);
    return digest;
  }

  /** A virtual environment with what builds CompressAI. */
  function environment() {
    const base = process.env.PYTHON ?? 'python3';
    return once('environment', [here, versions, run(base, ['--version'])], () => {
      run(base, ['-m', 'venv', '--clear', join(cache, '.venv')]);
      pip('install', ...exactly('setuptools', 'wheel', 'pybind11'));
    });
  }

  /** CompressAI's source, for its coder, and the header of ryg_rans that is in it. Without dependencies: no PyTorch. */
  function source() {
    return once('source', environment(), () => {
      const only = ['--no-deps', '--no-build-isolation', '--no-binary', 'compressai'];
      pip('download', ...only, '-d', cache, ...exactly('compressai'));
      const header = `compressai-${versionOf('compressai')}/third_party/ryg_rans/rans64.h`;
      run('tar', ['-xzf', sourceArchive(), '-C', cache, '--strip-components=3', header]);
    });
  }

  return {
    ryg: () =>
      once('ryg', [source(), readFileSync(HARNESS, 'utf8')], () => {
        for (const entry of ['uint8_t', 'uint16_t']) {
          const flags = ['-std=c11', '-O3', `-DENTRY=${entry}`, `-I${cache}`];
          run(process.env.CC ?? 'cc', [...flags, HARNESS, '-o', join(cache, `ryg-${entry}`)]);
        }
      }),
    compressai: () =>
      once('compressai', source(), () =>
        pip('install', '--no-deps', '--no-build-isolation', '--force-reinstall', sourceArchive()),
      ),
    constriction: () =>
      once('constriction', environment(), () => pip('install', ...exactly('constriction', 'numpy'))),
  };
}

/** The archive that pip downloaded. */
function sourceArchive() {
  const prefix = `compressai-${versionOf('compressai')}.`;
  const file = readdirSync(cache).find((name) => name.startsWith(prefix));
  if (file === undefined) throw new Error(`pip left no ${prefix}* in ${cache}`);
  return join(cache, file);
}

/** `name==version` of each package. */
function exactly(...names) {
  return names.map((name) => `${name}==${versionOf(name)}`);
}

function pip(...args) {
  run(python, ['-m', 'pip', '--quiet', '--disable-pip-version-check', ...args]);
}

/** Runs a command to its end; returns its output, or throws with the line of it that says most. */
function run(command, args) {
  const { error, status, stdout, stderr } = spawnSync(command, args, { cwd: here, encoding: 'utf8' });
  if (error) throw new Error(`${command} cannot be started (${error.code})`);
  if (status === 0) return stdout;
  const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => line.trim() !== '');
  const telling =
    lines.find((line) =>
      /no matching distribution|command .* failed|fatal error|no module|^\s*\w+Error: /i.test(line),
    ) ??
    lines.find((line) => /\berror\b/i.test(line)) ??
    lines.at(-1) ??
    `status ${status}`;
  throw new Error(`${basename(command)} failed: ${telling.trim()}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setUp();
