import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  bundleBytes,
  generateKeys,
  pointName,
  readPublicKey,
  SIGNATURE_FILE,
  signManifest,
  verifyBundle,
  type Manifest,
} from '@raccoon/bundle';
import { findBundle, listBundles, openBundle } from '@raccoon/bundle/node';
import { Command } from 'commander';
import { report } from '../failure.ts';
import { DEFAULT_BUNDLE, jsonOption } from '../options.ts';
import { mmac, table } from '../table.ts';
import { importCommand } from './train.ts';

export function bundleCommand(): Command {
  return new Command('bundle')
    .description('Bundles: a model as one verified unit.')
    .enablePositionalOptions() // what follows `import` is the training package's
    .addHelpText('after', '\nExamples:\n  raccoon bundle list\n  raccoon bundle verify ./my-bundle')
    .addCommand(
      new Command('list')
        .description('The bundles that a name would find.')
        .addOption(jsonOption())
        .addHelpText('after', '\nExample:\n  raccoon bundle list')
        .action(list),
    )
    .addCommand(
      new Command('verify')
        .description('Check manifest, tables and the SHA-256 of every file; with a key, who signed it.')
        .argument('[bundle]', 'name or path', DEFAULT_BUNDLE)
        .option('--key <file>', 'public key that must have signed it')
        .addHelpText(
          'after',
          `
Examples:
  raccoon bundle verify bundles/imagenet1k-mobilenet
  raccoon bundle verify ./my-bundle --key release.pub`,
        )
        .action(verify),
    )
    .addCommand(
      new Command('keygen')
        .description('Make an ed25519 key pair: <name>.key, which signs, and <name>.pub, which checks.')
        .argument('<name>', 'path of the two files, without the ending')
        .addHelpText('after', '\nExample:\n  raccoon bundle keygen release')
        .action(keygen),
    )
    .addCommand(
      new Command('sign')
        .description(`Check a bundle and sign its manifest: writes ${SIGNATURE_FILE} beside it.`)
        .argument('<bundle>', 'name or path')
        .requiredOption('--key <file>', 'private key, from `raccoon bundle keygen`')
        .addHelpText('after', '\nExample:\n  raccoon bundle sign ./my-bundle --key release.key')
        .action(sign),
    )
    .addCommand(importCommand());
}

async function list(flags: { json?: true }): Promise<void> {
  const rows = [];
  for (const folder of await listBundles()) {
    try {
      const { manifest } = await openBundle(folder);
      rows.push({ folder, manifest, megabytes: bundleBytes(manifest) / 1e6 });
    } catch (error) {
      report(error, folder); // the others are still listed
    }
  }
  if (flags.json) {
    const json = rows.map(({ folder, manifest, megabytes }) => {
      const { name, version, points } = manifest;
      return {
        name,
        version,
        folder,
        megabytes,
        classes: manifest.classes.length,
        exit: manifest.exit !== undefined,
        unsplit: manifest.stem !== undefined,
        points,
      };
    });
    process.stdout.write(`${JSON.stringify(json)}\n`);
    return;
  }
  for (const { folder, manifest, megabytes } of rows) {
    const about = [
      `${megabytes.toFixed(1)} MB`,
      `${manifest.classes.length} classes`,
      ...(manifest.exit ? ['local exit'] : []),
      ...(manifest.stem ? [] : ['no unsplit network']),
      folder,
    ];
    process.stdout.write(
      `${manifest.name} ${manifest.version}  ${about.join(', ')}\n${pointTable(manifest)}\n`,
    );
  }
}

const accuracy = (top1: number | undefined): string => (top1 === undefined ? '-' : `${top1.toFixed(1)} %`);

function pointTable({ points, exit }: Manifest): string {
  return table(
    ['  point', 'encoder', 'rate', `top-1${measuredOn(points)}`, ...(exit ? ['exit top-1'] : []), 'edge MAC'],
    points.map(({ n, q, precision = 'float32', expectedBpp, edgeMacs, measured }) => [
      `  ${pointName({ n, q })}`,
      precision,
      `${(measured?.payloadBpp ?? expectedBpp).toFixed(3)} bpp`,
      accuracy(measured?.top1),
      ...(exit ? [accuracy(measured?.exitTop1)] : []),
      mmac(edgeMacs),
    ]),
    2,
  );
}

function measuredOn(points: Manifest['points']): string {
  const measured = points.find((point) => point.measured)?.measured;
  return measured ? ` (${measured.images} of ${measured.data})` : '';
}

async function verify(nameOrPath: string, flags: { key?: string }): Promise<void> {
  const key = flags.key === undefined ? undefined : await readPublicKey(await readText(flags.key), flags.key);
  const bundle = await openBundle(nameOrPath, undefined, { trust: key && [key] });
  await verifyBundle(bundle);
  const { name, version, files } = bundle.manifest;
  const signed = key ? `, signed by ${key.id}` : '';
  process.stdout.write(
    `${name} ${version}: ${Object.keys(files).length} files, all as the manifest says${signed}\n`,
  );
}

async function keygen(name: string): Promise<void> {
  const { publicKey, privateKey } = await generateKeys();
  await writeNew(`${name}.key`, privateKey, 0o600);
  await writeNew(`${name}.pub`, publicKey, 0o644);
  const { id } = await readPublicKey(publicKey, name);
  process.stdout.write(`${name}.key signs: keep it secret. ${name}.pub checks: ${id}\n`);
}

async function sign(nameOrPath: string, flags: { key: string }): Promise<void> {
  const folder = findBundle(nameOrPath);
  const bundle = await openBundle(folder);
  await verifyBundle(bundle); // what is signed is whole
  const signature = await signManifest(bundle.manifestBytes, await readText(flags.key), flags.key);
  await writeFile(join(folder, SIGNATURE_FILE), signature);
  const { name, version } = bundle.manifest;
  process.stdout.write(`${name} ${version}: signed, ${join(folder, SIGNATURE_FILE)}\n`);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new Error(`${file} cannot be read: \`raccoon bundle keygen\` makes a pair of keys`, { cause });
  }
}

/** A key that is there already may be the only one of its kind. */
async function writeNew(file: string, content: string, mode: number): Promise<void> {
  try {
    await writeFile(file, content, { mode, flag: 'wx' });
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new Error(exists ? `${file} is there already: choose another name` : `${file} cannot be written`, {
      cause,
    });
  }
}
