import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Report, root } from './report.mjs';

/**
 * Runs one script of a folder: `npm run load -- saturation --seconds 5`. A script exports `about`, `options` (name ->
 * { default, about }; the default's type is the option's) and `run(options, report)`.
 */
export async function runScript(folder) {
  const kind = basename(folder);
  const names = readdirSync(folder)
    .filter((file) => file.endsWith('.mjs') && file !== `${kind}.mjs` && !file.includes('-'))
    .map((file) => basename(file, '.mjs'));
  const [name, ...args] = process.argv.slice(2);
  if (name === undefined || name.startsWith('-') || !names.includes(name)) {
    console.log(`npm run ${kind} -- <name> [options]; --help after a name lists its options\n`);
    for (const each of names)
      console.log(`  ${each.padEnd(12)} ${(await load(folder, each)).about.split('\n')[0]}`);
    process.exitCode = name === '--help' || name === '-h' ? 0 : 1;
    return;
  }
  const script = await load(folder, name);
  const options = parse(`${kind} -- ${name}`, script, args);
  if (!options) return;
  if (!existsSync(join(root, 'packages/cli/dist/main.js')))
    throw new Error('nothing is built: npm run build');
  const report = new Report(`${kind}/${name}`, options.short);
  await script.run(options, report);
  report.end();
}

function load(folder, name) {
  return import(pathToFileURL(join(folder, `${name}.mjs`)).href);
}

function parse(command, { about, options }, args) {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', short: 'h' },
      ...Object.fromEntries(
        Object.entries(options).map(([name, option]) => [
          name,
          { type: typeof option.default === 'boolean' ? 'boolean' : 'string' },
        ]),
      ),
    },
  });
  if (values.help) {
    console.log(`npm run ${command}\n\n${about}\n`);
    for (const [name, option] of Object.entries(options)) {
      console.log(`  --${name.padEnd(16)} ${option.about} (default: ${option.default})`);
    }
    return undefined;
  }
  return Object.fromEntries(
    Object.entries(options).map(([name, option]) => [name, read(name, values[name], option.default)]),
  );
}

function read(name, given, fallback) {
  if (given === undefined) return fallback;
  if (typeof fallback !== 'number') return given;
  const number = Number(given);
  if (!(number > 0)) throw new Error(`--${name} ${given}: give a number above 0`);
  return number;
}
