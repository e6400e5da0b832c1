import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pointName, type Manifest } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { connect, type Classification } from '@raccoon/client';
import { startCloud } from '@raccoon/cloud';
import { toTensor } from '@raccoon/edge';
import { readPixels } from '@raccoon/edge/node';
import { encodeJpeg, jpegNearest, loadUnsplit, mean, topClasses, type UnsplitNetwork } from '@raccoon/rac';
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
  /** The same first class as the unsplit network's on the unsent photo. */
  agrees: boolean;
}

/** One photo, sent in three ways. */
interface Comparison {
  raccoon: Way;
  /** The JPEG nearest to Raccoon's bytes. */
  near: Way & { quality: number };
  high: Way;
}

async function demo(paths: string[], flags: { bundle: string }): Promise<void> {
  const photos = await photoFiles(paths.length > 0 ? paths : [SAMPLES]);
  const bundle = await openBundle(flags.bundle);
  const { manifest } = bundle;
  const unsplit = manifest.stem ? await loadUnsplit(bundle) : undefined;
  const cloud = await startCloud({ bundle, listen: '127.0.0.1:0' });
  const client = await connect({ cloud: cloud.address, bundle });
  const { n, q } = manifest.points[manifest.defaultPoint]!;
  process.stdout.write(
    `${manifest.name} ${manifest.version}: encoder with n=${n} blocks at rate level q=${q}, cloud on ${cloud.address}\n\n`,
  );

  const answers: Classification[] = [];
  const comparisons: Comparison[] = [];
  const bar = progressBar('photos');
  try {
    await client.classify(photos[0]!); // loads the encoder, so that the first row's time is like the others'
    for (const photo of photos) {
      const answer = await client.classify(photo);
      answers.push(answer);
      if (unsplit) comparisons.push(await compare(unsplit, photo, answer, manifest.input));
      bar.update(answers.length, photos.length);
    }
  } finally {
    bar.stop();
    await client.close();
    await cloud.close();
    await unsplit?.release();
  }

  const rows = answers.map((answer, i) => [
    basename(photos[i]!),
    answer.top[0]!.name,
    percent(answer.top[0]!.probability),
    ...(unsplit ? [comparisons[i]!.raccoon.agrees ? 'yes' : 'no'] : []),
    bytes(answer.bytes),
    answer.bpp.toFixed(3),
    ms(answer.encodeMs),
    ms(answer.roundTripMs),
  ]);
  const agrees = unsplit ? ['agrees'] : [];
  process.stdout.write(
    `${table(['photo', 'label', 'probability', ...agrees, 'bytes', 'bpp', 'encode', 'round trip'], rows, 2)}\n\n`,
  );
  process.stdout.write(
    unsplit
      ? `${summary(manifest, comparisons)}\n\n` +
          `"agrees": the same first class as the whole network on the unsent photo. Times: measured here, now.\n`
      : `${manifest.name} has no unsplit network to compare with. Times: measured here, now.\n`,
  );
}

/** Sends a photo as JPEG, too, and asks the unsplit network about it and about the unsent one. */
async function compare(
  unsplit: UnsplitNetwork,
  photo: string,
  answer: Classification,
  input: Manifest['input'],
): Promise<Comparison> {
  const top = async (rgb: Uint8Array): Promise<number> =>
    topClasses(await unsplit.run(toTensor(rgb, input)), 1)[0]!;
  const pixels = await readPixels(photo, input);
  const truth = await top(pixels);
  const asJpeg = async (jpeg: Uint8Array): Promise<Way> => ({
    bytes: jpeg.length,
    agrees: (await top(await readPixels(jpeg, input))) === truth,
  });
  const near = await jpegNearest(pixels, input.width, input.height, answer.bytes);
  const high = await encodeJpeg(pixels, input.width, input.height, HIGH_QUALITY);
  return {
    raccoon: { bytes: answer.bytes, agrees: answer.top[0]!.index === truth },
    near: { ...(await asJpeg(near.jpeg)), quality: near.quality },
    high: await asJpeg(high.jpeg),
  };
}

function summary({ input, points, defaultPoint }: Manifest, comparisons: readonly Comparison[]): string {
  const row = (name: string, pick: (comparison: Comparison) => Way): string[] => [
    name,
    bytes(mean(comparisons.map((comparison) => pick(comparison).bytes))),
    `${comparisons.filter((comparison) => pick(comparison).agrees).length} of ${comparisons.length}`,
  ];
  const smallest = comparisons.filter(({ near }) => near.quality === 1).length;
  const note = smallest > 0 ? `, JPEG's smallest for ${smallest} photos` : '';
  return table(
    [
      `${comparisons.length} photos at ${input.width}x${input.height}`,
      'bytes per photo',
      'agree with the unsplit network',
    ],
    [
      row(`Raccoon, ${pointName(points[defaultPoint]!)}`, ({ raccoon }) => raccoon),
      row(`JPEG nearest to the same bytes${note}`, ({ near }) => near),
      row(`JPEG quality ${HIGH_QUALITY}`, ({ high }) => high),
    ],
  );
}
