import { bundleBytes, pointName, verifyBundle, type Manifest } from '@raccoon/bundle';
import { listBundles, openBundle } from '@raccoon/bundle/node';
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
        .description('Check manifest, tables and the SHA-256 of every file.')
        .argument('[bundle]', 'name or path', DEFAULT_BUNDLE)
        .addHelpText('after', '\nExample:\n  raccoon bundle verify bundles/imagenet1k-mobilenet')
        .action(verify),
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

async function verify(nameOrPath: string): Promise<void> {
  const bundle = await openBundle(nameOrPath);
  await verifyBundle(bundle);
  const { name, version, files } = bundle.manifest;
  process.stdout.write(`${name} ${version}: ${Object.keys(files).length} files, all as the manifest says\n`);
}
