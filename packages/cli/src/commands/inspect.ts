import { pointName } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { bitsPerChannel, decodeBitstream, HEADER_BYTES, readHeader } from '@raccoon/codec';
import { Command } from 'commander';
import { bundleOption, jsonOption } from '../options.ts';
import { about, readRacFile } from '../rac-file.ts';
import { bytes } from '../table.ts';

export function inspectCommand(): Command {
  return new Command('inspect')
    .description("Show a .rac file's header and where its bits go.")
    .argument('<file.rac>')
    .addOption(bundleOption())
    .addOption(jsonOption())
    .addHelpText('after', `\nExample:\n  raccoon inspect raccoon.rac`)
    .action(async (file: string, flags: { bundle: string; json?: true }) => {
      const bundle = await openBundle(flags.bundle);
      const slices = await readRacFile(file);
      const header = about(file, () => readHeader(slices[0]!));
      const { codec, point, h, w, symbols } = about(file, () => decodeBitstream(slices, bundle.codecs));
      const bits = [...bitsPerChannel(symbols, { h, w }, point, codec)];
      const size = slices.reduce((sum, slice) => sum + slice.length, 0);
      const operating = bundle.manifest.points[point]!;
      const { n, q } = operating;
      if (flags.json) {
        process.stdout.write(
          `${JSON.stringify({ file, ...header, n, q, bytes: size, bitsPerChannel: bits })}\n`,
        );
        return;
      }
      const most = Math.max(...bits);
      process.stdout.write(
        `${file}: ${bytes(size)} in ${slices.length} of ${header.sliceCount} slice(s), ` +
          `${bytes(HEADER_BYTES)} of them header\n` +
          `bitstream version ${header.version}, codec ${header.codecId} (${bundle.manifest.name}), ` +
          `point ${point}: ${pointName(operating)}, latent ${bits.length} x ${h} x ${w}\n\nchannel   bits\n`,
      );
      for (const [channel, value] of bits.entries()) {
        const bar = '#'.repeat(Math.round((50 * value) / most));
        process.stdout.write(`${String(channel).padStart(7)} ${value.toFixed(0).padStart(6)}  ${bar}\n`);
      }
    });
}
