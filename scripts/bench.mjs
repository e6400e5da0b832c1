// npm run bench [-- codec edge cloud]: builds, names the machine, runs bench/*.mjs or those whose name has an argument.
// Numbers are only comparable within one run on a quiet machine; no test looks at them.
import { readdirSync } from 'node:fs';
import { arch, availableParallelism, cpus, loadavg, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import { build, fail, installPackages, root, run } from './setup.mjs';

const HELPER = 'median.mjs';
const wanted = process.argv.slice(2);
const scripts = readdirSync(join(root, 'bench')).filter(
  (file) =>
    file.endsWith('.mjs') &&
    file !== HELPER &&
    (wanted.length === 0 || wanted.some((name) => file.includes(name))),
);
if (scripts.length === 0) fail(`no benchmark named ${wanted.join(', ')} in bench/`);

installPackages();
build();
console.log(
  `${cpus()[0]?.model ?? arch()}, ${availableParallelism()} processors, ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
    `${platform()} ${arch()}, Node ${process.versions.node}, load ${loadavg()[0].toFixed(1)}\n`,
);
const failed = scripts.filter((file) => !run(process.execPath, [join('bench', file)]));
if (failed.length > 0) fail(`failed: ${failed.join(', ')}`);
