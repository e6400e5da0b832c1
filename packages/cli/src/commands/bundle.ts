import { bundleBytes, verifyBundle } from '@raccoon/bundle';
import { listBundles, openBundle } from '@raccoon/bundle/node';
import { Command } from 'commander';
import { report } from '../failure.ts';
import { DEFAULT_BUNDLE, jsonOption } from '../options.ts';
import { mmac, table } from '../table.ts';

export function bundleCommand(): Command {
  return new Command('bundle')
    .description('Bundles: a model as one verified unit.')
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
    );
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
      return { name, version, folder, megabytes, classes: manifest.classes.length, points };
    });
    process.stdout.write(`${JSON.stringify(json)}\n`);
    return;
  }
  for (const { folder, manifest, megabytes } of rows) {
    const points = manifest.points.map(({ n, q, expectedBpp, edgeMacs, measured }) => [
      `  n=${n} q=${q}`,
      `${(measured?.payloadBpp ?? expectedBpp).toFixed(3)} bpp`,
      measured ? `${measured.top1.toFixed(1)} %` : '-',
      mmac(edgeMacs),
    ]);
    process.stdout.write(
      `${manifest.name} ${manifest.version}  ${megabytes.toFixed(1)} MB, ${manifest.classes.length} classes, ${folder}\n` +
        `${table(['  point', 'rate', `top-1${measuredOn(manifest.points)}`, 'edge MAC'], points)}\n`,
    );
  }
}

function measuredOn(points: { measured?: { data: string; images: number } | undefined }[]): string {
  const measured = points.find((point) => point.measured)?.measured;
  return measured ? ` (${measured.images} of ${measured.data})` : '';
}

async function verify(nameOrPath: string): Promise<void> {
  const bundle = await openBundle(nameOrPath);
  await verifyBundle(bundle);
  const { name, version, files } = bundle.manifest;
  process.stdout.write(`${name} ${version}: ${Object.keys(files).length} files, all as the manifest says\n`);
}
