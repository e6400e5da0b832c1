import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  bundleBytes,
  generateKeys,
  httpBundle,
  pointName,
  readPublicKey,
  SIGNATURE_FILE,
  signManifest,
  verifyBundle,
  type Bundle,
  type Manifest,
} from '@raccoon/bundle';
import {
  findBundle,
  listBundles,
  openBundle,
  pullBundle,
  rollBack,
  type Pulled,
  type PullOptions,
} from '@raccoon/bundle/node';
import { cloudBundle } from '@raccoon/client';
import { selfTest } from '@raccoon/edge';
import { openEdge } from '@raccoon/edge/node';
import { connectGrpc } from '@raccoon/transport/node';
import { Command, InvalidArgumentError, Option } from 'commander';
import { report } from '../failure.ts';
import { DEFAULT_BUNDLE, jsonOption } from '../options.ts';
import { progressBar } from '../progress.ts';
import { bytes, mmac, table } from '../table.ts';
import { readToken } from '../token-file.ts';
import { importCommand } from './train.ts';

export function bundleCommand(): Command {
  return new Command('bundle')
    .description('Bundles: a model as one verified unit.')
    .enablePositionalOptions() // what follows `import` is the training package's
    .addHelpText(
      'after',
      '\nExamples:\n  raccoon bundle list\n  raccoon bundle verify ./my-bundle\n  raccoon bundle pull --from cloud.example:50051',
    )
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
        .addOption(
          new Option(
            '--expires <date>',
            'from then on nobody installs or serves it by this signature',
          ).argParser(dayOrMoment),
        )
        .addHelpText(
          'after',
          `
Examples:
  raccoon bundle sign ./my-bundle --key release.key
  raccoon bundle sign ./my-bundle --key release.key --expires 2027-12-31`,
        )
        .action(sign),
    )
    .addCommand(
      new Command('pull')
        .description('Fetch a bundle into the cache, try it on this machine, then switch to it.')
        .argument('[name]', 'of a bundle that the cloud serves; default: its first')
        .requiredOption(
          '--from <host:port or https://...>',
          'a cloud, or the folder of a bundle on a web server',
        )
        .option('--key <file>', 'public key that must have signed it')
        .option('--edge-only', 'encoders and tables alone, less than half of the bytes')
        .option('--store <folder>', 'where bundles are kept (default: raccoon/bundles in the cache)')
        .option('--tls', 'connect to the cloud over TLS; its certificate is of a public authority')
        .option('--tls-ca <file.pem>', "who signs the cloud's certificate, where it is no public authority")
        .option('--token-file <file>', 'the token that the cloud knows this machine by')
        .addOption(jsonOption())
        .addHelpText(
          'after',
          `
A download that broke goes on where it stopped. Whatever goes wrong, the version that was used stays in use.

Examples:
  raccoon bundle pull --from cloud.example:50051 --tls --token-file token.txt
  raccoon bundle pull --from https://models.example/imagenet1k-mobilenet/ --key release.pub --edge-only`,
        )
        .action(pull),
    )
    .addCommand(
      new Command('rollback')
        .description('Go back to the version of a pulled bundle that was used before.')
        .argument('<name>', 'of the bundle')
        .option('--store <folder>', 'where bundles are kept (default: raccoon/bundles in the cache)')
        .addHelpText('after', '\nExample:\n  raccoon bundle rollback imagenet1k-mobilenet')
        .action(rollback),
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

async function sign(nameOrPath: string, flags: { key: string; expires?: Date }): Promise<void> {
  const folder = findBundle(nameOrPath);
  const bundle = await openBundle(folder);
  await verifyBundle(bundle); // what is signed is whole
  const signature = await signManifest(
    bundle.manifestBytes,
    await readText(flags.key),
    flags.key,
    flags.expires,
  );
  await writeFile(join(folder, SIGNATURE_FILE), signature);
  const { name, version } = bundle.manifest;
  const until = flags.expires ? ` until ${flags.expires.toISOString()}` : '';
  process.stdout.write(`${name} ${version}: signed${until}, ${join(folder, SIGNATURE_FILE)}\n`);
}

interface PullFlags {
  from: string;
  key?: string;
  edgeOnly?: true;
  store?: string;
  tls?: true;
  tlsCa?: string;
  tokenFile?: string;
  json?: true;
}

async function pull(name: string | undefined, flags: PullFlags): Promise<void> {
  const key = flags.key === undefined ? undefined : await readPublicKey(await readText(flags.key), flags.key);
  const token = flags.tokenFile === undefined ? undefined : await readToken(flags.tokenFile);
  const bar = progressBar('fetching');
  const options: PullOptions = {
    trust: key && [key],
    edgeOnly: flags.edgeOnly ?? false,
    selfTest: tryOut,
    onProgress: (done, total) => bar.update(done, total),
    ...(flags.store !== undefined && { store: flags.store }),
  };
  let pulled: Pulled;
  try {
    pulled = await (/^https?:\/\//.test(flags.from)
      ? pullBundle(
          httpBundle(flags.from, token === undefined ? {} : { authorization: `Bearer ${token}` }),
          options,
        )
      : pullFromCloud(name ?? '', flags, token, options));
  } finally {
    bar.stop();
  }
  const { manifest, folder, fetchedBytes, switched } = pulled;
  if (flags.json) {
    const { name: pulledName, version } = manifest;
    process.stdout.write(
      `${JSON.stringify({ name: pulledName, version, folder, fetchedBytes, switched })}\n`,
    );
    return;
  }
  const what = switched ? 'now used' : 'was used already';
  process.stdout.write(
    `${manifest.name} ${manifest.version}: ${bytes(fetchedBytes)} fetched, ${what}, ${folder}\n`,
  );
}

async function pullFromCloud(
  name: string,
  { from, tls, tlsCa }: PullFlags,
  token: string | undefined,
  options: PullOptions,
): Promise<Pulled> {
  const transport = connectGrpc(from, {
    ...(tlsCa === undefined ? tls && { tls } : { tls: { ca: tlsCa } }),
    ...(token !== undefined && { token }),
  });
  try {
    return await pullBundle(cloudBundle(transport, name, from), options);
  } finally {
    await transport.close();
  }
}

/** Every encoder of a bundle, once, on this machine. */
async function tryOut(bundle: Bundle): Promise<void> {
  const edge = await openEdge(bundle);
  try {
    await selfTest(edge);
  } finally {
    await edge.close();
  }
}

async function rollback(name: string, { store }: { store?: string }): Promise<void> {
  const { active } = await rollBack(name, store);
  process.stdout.write(`${name}: ${active} is used now\n`);
}

function dayOrMoment(text: string): Date {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime()))
    throw new InvalidArgumentError('it must be a date, such as 2027-12-31.');
  if (moment <= new Date()) throw new InvalidArgumentError('it must be in the future.');
  return moment;
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
