// node test/conformance/oip/make-servers.mjs: other people's servers and clients of the Open Inference Protocol, each in a virtual
// environment of its own in the user's cache, from PyPI: 1.3 GB, some minutes. What is there already is left alone; without them
// test/e2e/oip-servers.test.ts is skipped, and says so.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'raccoon/tools');
const ONNX_RUNTIME = 'onnxruntime==1.31.1';
const ENVIRONMENTS = {
  'oip-mlserver': ['mlserver==1.7.1', ONNX_RUNTIME],
  'oip-kserve': ['kserve==0.21.0', ONNX_RUNTIME],
  'oip-triton': ['nvidia-pytriton==0.7.0', 'tritonclient[grpc]==2.73.0', ONNX_RUNTIME], // a whole Triton is in it
};

mkdirSync(cache, { recursive: true });
for (const [name, packages] of Object.entries(ENVIRONMENTS)) {
  const made = join(cache, name);
  if (existsSync(made)) continue;
  console.log(`making ${name} ...`);
  try {
    run('python3', ['-m', 'venv', made]); // it does not move: its programs name its path
    run(join(made, 'bin/python'), ['-m', 'pip', 'install', '--quiet', ...packages]);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    const why = (error.stderr?.toString() || error.message).trim().split('\n').at(-1);
    console.log(`${name} cannot be had: ${why}`);
  }
}

function run(command, args) {
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 28 });
}
