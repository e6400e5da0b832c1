// npm run demo [-- photos...]: the main job on real photos, from a fresh clone, without Python.
import { build, installPackages, run } from './setup.mjs';

installPackages();
build();
process.exit(run('node', ['packages/cli/bin/raccoon.js', 'demo', ...process.argv.slice(2)]) ? 0 : 1);
