import { openService } from '@raccoon/cloud';
import { Command, Option } from 'commander';
import { bundleOption, jsonOption, whole } from '../options.ts';
import { readRacFile } from '../rac-file.ts';
import { percent } from '../table.ts';

export function decodeCommand(): Command {
  return new Command('decode')
    .description('Decode a .rac file and finish the classification here.')
    .argument('<file.rac>')
    .addOption(bundleOption())
    .addOption(new Option('--top <k>', 'classes').argParser(whole(1)).default(5))
    .addOption(jsonOption())
    .addHelpText('after', `\nExample:\n  raccoon decode raccoon.rac --top 3`)
    .action(async (file: string, flags: { bundle: string; top: number; json?: true }) => {
      const slices = await readRacFile(file);
      if (slices.length > 1) {
        throw new Error(`${file} has ${slices.length} slices; this version classifies images of one slice`);
      }
      const local = await openService({ bundle: flags.bundle, workers: 1 });
      const response = await local.service.infer(
        { id: 1, payload: slices[0]!, topK: flags.top },
        { signal: new AbortController().signal, peer: 'local', caller: { name: 'local' } },
      );
      await local.close();
      if (response.error) throw new Error(`${file}: ${response.error.message}`);
      const top = response.result.top.map((score) => ({
        ...local.bundle.manifest.classes[score.index]!,
        ...score,
      }));
      if (flags.json) {
        process.stdout.write(`${JSON.stringify({ file, top, margin: response.result.margin })}\n`);
      } else {
        for (const { name, probability } of top)
          process.stdout.write(`${percent(probability).padStart(7)}  ${name}\n`);
      }
    });
}
