import { writeFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { pointName } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { choosePoint } from '@raccoon/client';
import { writeRac } from '@raccoon/codec';
import { openEdge } from '@raccoon/edge/node';
import { Command } from 'commander';
import { blocksOption, bundleOption, jsonOption, rateOption, type PointOptions } from '../options.ts';
import { bytes, ms } from '../table.ts';

export function encodeCommand(): Command {
  return new Command('encode')
    .description('Encode a photo into a .rac file.')
    .argument('<photo>')
    .option('-o, --output <file>', 'default: the photo’s name with .rac, in this folder')
    .addOption(bundleOption())
    .addOption(blocksOption())
    .addOption(rateOption())
    .addOption(jsonOption())
    .addHelpText('after', `\nExample:\n  raccoon encode samples/raccoon.jpg -q 3 -o raccoon.rac`)
    .action(async (photo: string, flags: PointOptions & { bundle: string; output?: string; json?: true }) => {
      const bundle = await openBundle(flags.bundle);
      const edge = await openEdge(bundle);
      const image = await edge.encode(photo, choosePoint(bundle, flags.blocks, flags.rate));
      await edge.close();
      const file = flags.output ?? `${basename(photo, extname(photo))}.rac`;
      await writeFile(file, writeRac(image.slices));
      const operating = bundle.manifest.points[image.point]!;
      const { n, q } = operating;
      const encodeMs = image.encoderMs + image.codecMs;
      process.stdout.write(
        flags.json
          ? `${JSON.stringify({ file, n, q, bytes: image.bytes, bpp: image.bpp, imageMs: image.imageMs, encodeMs })}\n`
          : `${file}: ${bytes(image.bytes)}, ${image.bpp.toFixed(3)} bpp, ${pointName(operating)}, encoded in ${ms(encodeMs)}\n`,
      );
    });
}
