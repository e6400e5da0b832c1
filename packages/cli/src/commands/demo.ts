import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openBundle } from '@raccoon/bundle/node';
import { connect, type Classification } from '@raccoon/client';
import { startCloud } from '@raccoon/cloud';
import { toTensor } from '@raccoon/edge';
import { readPixels } from '@raccoon/edge/node';
import { encodeJpeg, jpegNearest, loadUnsplit, mean, topClasses } from '@raccoon/rac';
import { Command } from 'commander';
import { bundleOption } from '../options.ts';
import { photoFiles } from '../photo-files.ts';
import { progressBar } from '../progress.ts';
import { bytes, ms, percent, table } from '../table.ts';

/** The sample photos of the repository that this file is built in. */
const SAMPLES = fileURLToPath(new URL('../../../../samples', import.meta.url));

const HIGH_QUALITY = 75;

export function demoCommand(): Command {
  return new Command('demo')
    .description('Edge and cloud on this machine: classify sample photos over a real socket, beside JPEG.')
    .argument('[photos...]', 'files or folders; default: the sample photos')
    .addOption(bundleOption())
    .addHelpText('after', '\nExamples:\n  raccoon demo\n  raccoon demo my-photo.jpg')
    .action(demo);
}

/** How one way to send a photo did. */
interface Way {
  bytes: number;
  agrees: boolean;
}

async function demo(paths: string[], flags: { bundle: string }): Promise<void> {
  const photos = await photoFiles(paths.length > 0 ? paths : [SAMPLES]);
  const bundle = await openBundle(flags.bundle);
  const { manifest } = bundle;
  const { input } = manifest;
  const unsplit = await loadUnsplit(bundle);
  const cloud = await startCloud({ bundle, listen: '127.0.0.1:0' });
  const client = await connect({ cloud: cloud.address, bundle });
  const { n, q } = manifest.points[manifest.defaultPoint]!;
  process.stdout.write(
    `${manifest.name} ${manifest.version}: encoder with n=${n} blocks at rate level q=${q}, cloud on ${cloud.address}\n\n`,
  );

  const answers: Classification[] = [];
  const ways: { raccoon: Way; near: Way; high: Way }[] = [];
  let smallest = 0;
  const bar = progressBar('photos');
  try {
    await client.classify(photos[0]!); // loads the encoder, so that the first row's time is like the others'
    for (const photo of photos) {
      const answer = await client.classify(photo);
      const pixels = await readPixels(photo, input);
      const top = async (rgb: Uint8Array): Promise<number> =>
        topClasses(await unsplit.run(toTensor(rgb, input)), 1)[0]!;
      const truth = await top(pixels);
      const near = await jpegNearest(pixels, input.width, input.height, answer.bytes);
      const high = await encodeJpeg(pixels, input.width, input.height, HIGH_QUALITY);
      const asJpeg = async (jpeg: Uint8Array): Promise<Way> => ({
        bytes: jpeg.length,
        agrees: (await top(await readPixels(jpeg, input))) === truth,
      });
      if (near.quality === 1) smallest++;
      answers.push(answer);
      ways.push({
        raccoon: { bytes: answer.bytes, agrees: answer.top[0]!.index === truth },
        near: await asJpeg(near.jpeg),
        high: await asJpeg(high.jpeg),
      });
      bar.update(answers.length, photos.length);
    }
  } finally {
    bar.stop();
    await client.close();
    await cloud.close();
    await unsplit.release();
  }

  const rows = answers.map((answer, i) => [
    basename(photos[i]!),
    answer.top[0]!.name,
    percent(answer.top[0]!.probability),
    ways[i]!.raccoon.agrees ? 'yes' : 'no',
    bytes(answer.bytes),
    answer.bpp.toFixed(3),
    ms(answer.encodeMs),
    ms(answer.roundTripMs),
  ]);
  process.stdout.write(
    `${table(['photo', 'label', 'probability', 'agrees', 'bytes', 'bpp', 'encode', 'round trip'], rows, 2)}\n`,
  );
  const summary = (name: string, pick: (way: (typeof ways)[number]) => Way): string[] => [
    name,
    bytes(mean(ways.map((way) => pick(way).bytes))),
    `${ways.filter((way) => pick(way).agrees).length} of ${ways.length}`,
  ];
  const note = smallest > 0 ? `, JPEG's smallest for ${smallest} photos` : '';
  process.stdout.write(
    `\n${table(
      [
        `${photos.length} photos at ${input.width}x${input.height}`,
        'bytes per photo',
        'agree with the unsplit network',
      ],
      [
        summary(`Raccoon, n=${n} q=${q}`, (way) => way.raccoon),
        summary(`JPEG nearest to the same bytes${note}`, (way) => way.near),
        summary(`JPEG quality ${HIGH_QUALITY}`, (way) => way.high),
      ],
    )}\n\n` +
      `"agrees": the same first class as the whole network on the unsent photo. Times: measured here, now.\n`,
  );
}
