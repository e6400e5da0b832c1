import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { BundleError, type Precision } from '@raccoon/bundle';
import { connect, isFailure, type Classification, type ConnectOptions } from '@raccoon/client';
import type { ImageInput } from '@raccoon/edge';
import { TransportError } from '@raccoon/transport';
import { Command, Option } from 'commander';
import { report } from '../failure.ts';
import {
  blocksOption,
  bundleOption,
  jsonOption,
  precisionOption,
  rateOption,
  whole,
  type PointOptions,
} from '../options.ts';
import { photoFiles } from '../photo-files.ts';
import { bytes, ms, percent } from '../table.ts';

interface EdgeFlags extends PointOptions {
  cloud: string;
  bundle: string;
  precision?: Precision;
  deadlineMs?: number;
  background?: true;
  tls?: true;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsServerName?: string;
  tokenFile?: string;
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
    .addOption(precisionOption())
    .addOption(new Option('--deadline-ms <ms>', 'time for one image in the cloud').argParser(whole(1)))
    .option('--background', 'images that can wait: the cloud serves others first')
    .option('--tls', "connect over TLS; the cloud's certificate is of a public authority")
    .option('--tls-ca <file.pem>', "who signs the cloud's certificate, where it is no public authority")
    .option('--tls-cert <file.pem>', 'certificate of this edge, for a cloud that asks for one')
    .option('--tls-key <file.pem>', 'its key')
    .option(
      '--tls-server-name <name>',
      "the name in the cloud's certificate, where it is not that of --cloud",
    )
    .option('--token-file <file>', 'the token that the cloud knows this edge by')
    .addOption(new Option('--top <k>', 'classes per photo, with --json').argParser(whole(1)).default(5))
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  raccoon edge samples/                                 every photo of a folder
  raccoon edge cat.jpg --cloud 10.0.0.7:50051 -n 0 -q 0 the cheapest encoder, the fewest bits
  raccoon edge samples/ --cloud cloud.example:50051 --tls-ca ca.pem --token-file token.txt
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
  const tls = tlsOf(flags);
  if (tls) options.tls = tls;
  if (flags.tokenFile !== undefined) options.token = await readToken(flags.tokenFile);
  if (flags.precision !== undefined) options.precision = flags.precision;
  if (flags.background) options.background = true;
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

function tlsOf({ tls, tlsCa, tlsCert, tlsKey, tlsServerName }: EdgeFlags): ConnectOptions['tls'] {
  const given = {
    ...(tlsCa !== undefined && { ca: tlsCa }),
    ...(tlsCert !== undefined && { cert: tlsCert }),
    ...(tlsKey !== undefined && { key: tlsKey }),
    ...(tlsServerName !== undefined && { serverName: tlsServerName }),
  };
  return Object.keys(given).length > 0 ? given : tls;
}

async function readToken(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`cannot read the token in ${file}: is it there, and yours to read?`, { cause });
  });
  const token = text.trim();
  if (!/^\S+$/.test(token)) throw new Error(`${file} has no token: it must be one line without spaces`);
  return token;
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
