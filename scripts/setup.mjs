// What a fresh clone lacks, made once: npm packages, the build, the Python environment.
// Plain JavaScript: it runs before anything is installed or compiled.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs a command in the repository; its output is ours. Returns whether it succeeded. */
export function run(command, args, options = {}) {
  const { error, status } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    ...options,
    env: { ...process.env, ...options.env },
  });
  if (error) console.error(`${command} cannot be started: ${error.message}`);
  return status === 0;
}

/** Ends the process with a line that says what to do. */
export function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Does `work` unless it was done for the same content of `files` already; remembers in `stamp`. */
function once(stamp, files, work) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(readFileSync(join(root, file)));
  const digest = hash.digest('hex');
  const stampFile = join(root, stamp);
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === digest) return;
  work();
  writeFileSync(stampFile, digest);
}

export function installPackages() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Node ${process.versions.node} is too old: Raccoon needs 20.19 or newer`);
  }
  once('node_modules/.raccoon-setup', ['package-lock.json'], () => {
    console.log('Installing npm packages (once) ...');
    // Not `npm ci`: it refuses a lock file that was written where the other platforms' optional binaries could
    // not be looked up. This installs the locked versions, and for the rest what package.json says.
    if (!run('npm', ['install', '--no-save', '--loglevel=error'])) {
      fail('npm install failed: see above; is the npm registry reachable?');
    }
  });
}

export function build() {
  console.log('Building ...');
  if (!run('npx', ['nx', 'run-many', '-t', 'build', '--outputStyle=static'], { stdio: 'pipe' })) {
    run('npm', ['run', 'build']); // once more, for its messages
    fail('the build failed: see above');
  }
}

/** The training package's own virtual environment. */
export function installPython() {
  once('packages/training/.venv/.raccoon-setup', ['packages/training/requirements.txt'], () => {
    console.log('Installing the Python environment of packages/training (once; PyTorch is large) ...');
    if (!run('npx', ['nx', 'run', 'training:setup'])) fail('the Python environment failed: see above');
  });
}
