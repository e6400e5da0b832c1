import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle } from '@raccoon/bundle';
import { findBundle, openBundle } from '@raccoon/bundle/node';
import {
  evaluateJpeg,
  evaluatePoints,
  evaluateUnsplit,
  listImageFolder,
  samplePhotos,
  type Evaluation,
  type PointEvaluation,
} from '@raccoon/rac';
import { Command, Option } from 'commander';
import { blocksOption, bundleOption, jsonOption, rateOption, whole, type PointOptions } from '../options.ts';
import { progressBar } from '../progress.ts';
import { mmac, ms, table } from '../table.ts';

interface EvalFlags extends PointOptions {
  bundle: string;
  data: string;
  dataName: string;
  unsplit?: true;
  jpeg?: number[];
  limit?: number;
  seed: number;
  record?: true;
  json?: true;
}

export function evalCommand(): Command {
  return new Command('eval')
    .description(
      'Measure accuracy and real bytes on labelled photos, through the real codec and a real socket.',
    )
    .addOption(bundleOption())
    .requiredOption('-d, --data <folder>', 'ImageFolder: one folder of photos per class, named by its wnid')
    .option('--data-name <name>', 'what to call the photos', 'imagenet20 val')
    .addOption(blocksOption())
    .addOption(rateOption())
    .option('--unsplit', 'the unsplit network instead: the whole of it on the edge')
    .addOption(
      new Option(
        '--jpeg <qualities>',
        'JPEG and the unsplit network beside it, for instance 10,20,40',
      ).argParser((text) => text.split(',').map(whole(1))),
    )
    .addOption(
      new Option('--limit <photos>', 'a class-balanced sample, the same for every point').argParser(whole(1)),
    )
    .addOption(new Option('--seed <n>', 'of the sample').argParser(whole(0)).default(1))
    .option('--record', "write what was measured into the bundle's manifest")
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Without --blocks and --rate: every operating point, and the unsplit network beside them.

Examples:
  raccoon eval --data imagenet20/val --limit 500
  raccoon eval --data imagenet20/val --blocks 4 --rate 2 --json
  raccoon eval --data imagenet20/val --unsplit
  raccoon eval --data imagenet20/val --limit 500 --jpeg 10,20,40`,
    )
    .action(evaluate);
}

async function evaluate(flags: EvalFlags): Promise<void> {
  const bundle = await openBundle(flags.bundle);
  const all = await listImageFolder(flags.data);
  const photos = samplePhotos(all, flags.limit ?? all.length, flags.seed);
  const points = flags.unsplit ? [] : wantedPoints(bundle, flags);
  const withUnsplit = flags.unsplit || (flags.blocks === undefined && flags.rate === undefined);

  const qualities = flags.jpeg ?? [];
  const bar = progressBar('photos');
  const total = photos.length * (points.length + qualities.length + (withUnsplit ? 1 : 0));
  let before = 0;
  const progress = (done: number): void => bar.update(before + done, total);
  const rows = points.length > 0 ? await evaluatePoints(bundle, photos, points, progress) : [];
  before = points.length * photos.length;
  const jpegs: { quality: number; row: Evaluation }[] = [];
  for (const quality of qualities) {
    jpegs.push({ quality, row: await evaluateJpeg(bundle, photos, quality, progress) });
    before += photos.length;
  }
  const unsplit = withUnsplit ? await evaluateUnsplit(bundle, photos, progress) : undefined;
  bar.stop();

  if (flags.record) await record(flags, rows);
  const { name, version } = bundle.manifest;
  if (flags.json) {
    const context = { bundle: name, version, data: flags.dataName, seed: flags.seed };
    process.stdout.write(
      `${JSON.stringify({ ...context, points: rows, jpeg: jpegs, ...(unsplit && { unsplit }) })}\n`,
    );
    return;
  }
  process.stdout.write(
    `${name} ${version}, ${photos.length} photos of ${flags.dataName}, ${bundle.manifest.classes.length}-way; measured\n\n` +
      `${accuracyTable(rows, jpegs, unsplit)}\n`,
  );
  if (rows.length > 0) {
    process.stdout.write(
      `\nWhere the bytes go, means per image (entropy model: estimated at export; the rest: what was written)\n\n`,
    );
    process.stdout.write(`${byteTable(bundle, rows)}\n`);
  }
}

function wantedPoints(bundle: Bundle, { blocks, rate }: PointOptions): number[] {
  const { name, points } = bundle.manifest;
  const wanted = points.flatMap(({ n, q }, p) =>
    (blocks === undefined || blocks === n) && (rate === undefined || rate === q) ? [p] : [],
  );
  if (wanted.length === 0) {
    throw new Error(
      `${name} has no such point; it has ${points.map(({ n, q }) => `n=${n} q=${q}`).join(', ')}`,
    );
  }
  return wanted;
}

function accuracyTable(
  rows: readonly PointEvaluation[],
  jpegs: readonly { quality: number; row: Evaluation }[],
  unsplit: Evaluation | undefined,
): string {
  return table(
    [
      '',
      'top-1 %',
      'top-5 %',
      'bpp',
      'wire bpp',
      'bytes',
      'encode p50',
      'p95',
      'entropy',
      'cloud',
      'edge MAC',
    ],
    [
      ...rows.map((row) => accuracyCells(`n=${row.n} q=${row.q}`, row)),
      ...jpegs.map(({ quality, row }) => accuracyCells(`JPEG quality ${quality}, whole network`, row)),
      ...(unsplit ? [accuracyCells('whole network on the edge', unsplit)] : []),
    ],
  );
}

function accuracyCells(name: string, row: Evaluation): string[] {
  return [
    name,
    row.top1.toFixed(1),
    row.top5.toFixed(1),
    row.payloadBpp.toFixed(3),
    row.wireBpp.toFixed(3),
    row.bytesPerImage.toFixed(0),
    ms(row.encodeMs.p50),
    ms(row.encodeMs.p95),
    ms(row.entropyMs),
    ms(row.cloudMs),
    mmac(row.edgeMacs),
  ];
}

function byteTable({ manifest }: Bundle, rows: readonly PointEvaluation[]): string {
  const pixels = manifest.input.width * manifest.input.height;
  return table(
    ['', 'entropy model', 'words', 'difference', 'flush', 'header', 'protobuf', 'gRPC', 'HTTP/2'],
    rows.map(({ point, n, q, bytes }) => {
      const expected = (manifest.points[point]!.expectedBpp * pixels) / 8;
      return [
        `n=${n} q=${q}`,
        expected.toFixed(1),
        bytes.words.toFixed(1),
        `${(100 * (bytes.words / expected - 1)).toFixed(2)} %`,
        bytes.flush.toFixed(1),
        String(bytes.header),
        bytes.protobuf.toFixed(1),
        String(bytes.grpc),
        bytes.http2.toFixed(1),
      ];
    }),
  );
}

/** Puts measured rows into manifest.json, which names its files' hashes but has none itself. */
async function record(flags: EvalFlags, rows: readonly PointEvaluation[]): Promise<void> {
  const file = join(findBundle(flags.bundle), 'manifest.json');
  const manifest = JSON.parse(await readFile(file, 'utf8')) as Bundle['manifest'];
  for (const { point, images, top1, top5, payloadBpp } of rows) {
    manifest.points[point]!.measured = {
      data: flags.dataName,
      images,
      top1: Number(top1.toFixed(2)),
      top5: Number(top5.toFixed(2)),
      payloadBpp: Number(payloadBpp.toFixed(4)),
    };
  }
  await writeFile(file, `${JSON.stringify(manifest, undefined, 1)}\n`);
}
