import { buffer } from 'node:stream/consumers';
import { BundleError } from '@raccoon/bundle';
import { connect, isFailure, type Classification, type ConnectOptions } from '@raccoon/client';
import type { ImageInput } from '@raccoon/edge';
import { TransportError } from '@raccoon/transport';
import { Command, Option } from 'commander';
import { report } from '../failure.ts';
import { blocksOption, bundleOption, jsonOption, rateOption, whole, type PointOptions } from '../options.ts';
import { photoFiles } from '../photo-files.ts';
import { bytes, ms, percent } from '../table.ts';

interface EdgeFlags extends PointOptions {
  cloud: string;
  bundle: string;
  deadlineMs?: number;
  top: number;
  json?: true;
}

export function edgeCommand(): Command {
  return new Command('edge')
    .description('Encode photos here and have a cloud classify them.')
    .argument('<photos...>', 'files, folders, or - for one photo on stdin')
    .option('-c, --cloud <host:port>', 'where `raccoon cloud` runs', '127.0.0.1:50051')
    .addOption(bundleOption())
    .addOption(blocksOption())
    .addOption(rateOption())
    .addOption(new Option('--deadline-ms <ms>', 'time for one image in the cloud').argParser(whole(1)))
    .addOption(new Option('--top <k>', 'classes per photo, with --json').argParser(whole(1)).default(5))
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  raccoon edge samples/                                 every photo of a folder
  raccoon edge cat.jpg --cloud 10.0.0.7:50051 -n 0 -q 0 the cheapest encoder, the fewest bits
  curl -s https://example.org/cat.jpg | raccoon edge -  one photo from a pipe`,
    )
    .action(edge);
}

async function edge(paths: string[], flags: EdgeFlags): Promise<void> {
  const images: ImageInput[] = [];
  for (const path of paths) {
    if (path === '-') images.push(new Uint8Array(await buffer(process.stdin)));
    else images.push(...(await photoFiles([path])));
  }
  const options: ConnectOptions = { cloud: flags.cloud, bundle: flags.bundle, topK: flags.top };
  if (flags.blocks !== undefined) options.blocks = flags.blocks;
  if (flags.rate !== undefined) options.rate = flags.rate;
  if (flags.deadlineMs !== undefined) options.timeoutMs = flags.deadlineMs;
  const client = await connect(options);
  let answered = 0;
  try {
    for await (const outcome of client.classify(images)) {
      const name = typeof outcome.image === 'string' ? outcome.image : '-';
      if (!isFailure(outcome)) {
        answered++;
        process.stdout.write(flags.json ? `${JSON.stringify(toJson(name, outcome))}\n` : line(name, outcome));
      } else if (outcome.error instanceof TransportError || outcome.error instanceof BundleError) {
        // the link or the encoder, not this image: the others would fail alike
        report(`${outcome.error.message} (${answered} of ${images.length} photos answered)`);
        break;
      } else {
        report(outcome.error, name);
      }
    }
  } finally {
    await client.close();
  }
}

function line(name: string, { top, bytes: size, bpp, encodeMs, roundTripMs }: Classification): string {
  const first = top[0]!;
  return (
    `${name}  ${first.name} ${percent(first.probability)}  ${bytes(size)} (${bpp.toFixed(2)} bpp)  ` +
    `encode ${ms(encodeMs)}, round trip ${ms(roundTripMs)}\n`
  );
}

function toJson(file: string, classification: Classification): object {
  const { image: _, logits: __, ...rest } = classification;
  return { file, ...rest };
}
