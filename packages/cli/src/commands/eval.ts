import { pointName, stemOf, type Bundle, type MeasuredPoint, type Precision } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import {
  evaluateJpeg,
  evaluatePoints,
  evaluatePrefixes,
  evaluateSlices,
  evaluateUnsplit,
  inOneSlice,
  listImageFolder,
  samplePhotos,
  stopAt,
  type Evaluation,
  type PointEvaluation,
  type PrefixEvaluation,
  type SlicedEvaluation,
} from '@raccoon/rac';
import { Command, InvalidArgumentError, Option } from 'commander';
import { editManifest } from '../manifest-file.ts';
import {
  blocksOption,
  bundleOption,
  dataNameOption,
  dataOption,
  jsonOption,
  precisionOption,
  rateOption,
  whole,
  type PointOptions,
} from '../options.ts';
import { progressBar } from '../progress.ts';
import { mmac, ms, table } from '../table.ts';

interface EvalFlags extends PointOptions {
  bundle: string;
  data: string;
  dataName: string;
  precision?: Precision;
  exit?: true;
  prefixes?: true;
  slices?: number[];
  unsplit?: true;
  jpeg?: number[];
  limit?: number;
  seed: number;
  record?: true;
  photos?: true;
  json?: true;
}

export function evalCommand(): Command {
  return new Command('eval')
    .description(
      'Measure accuracy and real bytes on labelled photos, through the real codec and a real socket.',
    )
    .addOption(bundleOption())
    .addOption(dataOption())
    .addOption(dataNameOption())
    .addOption(blocksOption())
    .addOption(rateOption())
    .addOption(precisionOption())
    .option('--exit', 'the local exit as well: its top-1, without any byte sent')
    .option('--prefixes', 'what 25, 50 and 75 % of the channels are good for: in this process, no wire')
    .addOption(
      new Option(
        '--slices <shares>',
        'progressive sending, in slices that end at these shares of the bits, for instance 0.5,0.75: in this process, no wire',
      ).argParser(sharesOfBits),
    )
    .addOption(
      new Option('--unsplit', 'the unsplit network instead: the whole of it on the edge').conflicts([
        'exit',
        'prefixes',
        'slices',
        'record',
      ]),
    )
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
    .option('--photos', 'with --json: what became of every photo, for raccoon compare')
    .addHelpText(
      'after',
      `
Without --blocks, --rate and --precision: every operating point, and the unsplit network (where the bundle has one)
beside them. --record keeps what was recorded before and is not measured now, if --data-name and the number of photos
are the same.

Examples:
  raccoon eval --data imagenet20/val --limit 500
  raccoon eval --data imagenet20/val --blocks 4 --rate 2 --json
  raccoon eval --data imagenet20/val --precision int8 --record
  raccoon eval --data imagenet20/val --exit --prefixes --record
  raccoon eval --data imagenet20/val --limit 1000 --blocks 8 --slices 0.25,0.5,0.75
  raccoon eval --data imagenet20/val --unsplit
  raccoon eval --data imagenet20/val --limit 1000 --json --photos > mine.json
  raccoon eval --data imagenet20/val --limit 500 --jpeg 10,20,40`,
    )
    .action(evaluate);
}

async function evaluate(flags: EvalFlags): Promise<void> {
  const bundle = await openBundle(flags.bundle);
  if (flags.unsplit || flags.jpeg) stemOf(bundle.manifest); // or says now that there is none, not after an hour
  const all = await listImageFolder(flags.data);
  const photos = samplePhotos(all, flags.limit ?? all.length, flags.seed);
  const points = flags.unsplit ? [] : wantedPoints(bundle, flags);
  const everyPoint = [flags.blocks, flags.rate, flags.precision].every((chosen) => chosen === undefined);
  const withUnsplit = flags.unsplit || (everyPoint && bundle.manifest.stem !== undefined);

  const qualities = flags.jpeg ?? [];
  const bar = progressBar('photos');
  const passes =
    points.length * (1 + Number(flags.prefixes ?? 0) + Number(flags.slices !== undefined)) +
    qualities.length +
    (withUnsplit ? 1 : 0);
  const total = photos.length * passes;
  let before = 0;
  const progress = (done: number): void => bar.update(before + done, total);
  const exit = flags.exit ?? false;
  const rows = points.length > 0 ? await evaluatePoints(bundle, photos, points, progress, { exit }) : [];
  before += points.length * photos.length;
  const prefixes = flags.prefixes ? await evaluatePrefixes(bundle, photos, points, progress) : [];
  before += prefixes.length * photos.length;
  const sliced = flags.slices ? await evaluateSlices(bundle, photos, points, flags.slices, progress) : [];
  before += sliced.length * photos.length;
  const jpegs: { quality: number; row: Evaluation }[] = [];
  for (const quality of qualities) {
    jpegs.push({ quality, row: await evaluateJpeg(bundle, photos, quality, progress) });
    before += photos.length;
  }
  const unsplit = withUnsplit ? await evaluateUnsplit(bundle, photos, progress) : undefined;
  bar.stop();

  if (flags.record) await record(flags, rows, prefixes);
  const { name, version } = bundle.manifest;
  const shown = ({ photos: outcomes, ...row }: Evaluation): object =>
    flags.photos ? { ...row, photos: outcomes } : row;
  if (flags.json) {
    const context = { bundle: name, version, data: flags.dataName, seed: flags.seed };
    process.stdout.write(
      `${JSON.stringify({
        ...context,
        points: rows.map(shown),
        ...(flags.prefixes && { prefixes }),
        ...(flags.slices && { slices: sliced }),
        jpeg: jpegs.map(({ quality, row }) => ({ quality, row: shown(row) })),
        ...(unsplit && { unsplit: shown(unsplit) }),
      })}\n`,
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
  if (prefixes.length > 0) {
    process.stdout.write(
      `\nThe first channels alone, the first of four slices; in this process, without a wire\n\n${prefixTable(bundle, prefixes)}\n`,
    );
  }
  if (sliced.length > 0) {
    process.stdout.write(
      `\nProgressive: the next slice is sent until the cloud's margin is the stop margin; in this process, without a wire\n\n${slicesTable(bundle, sliced)}\n`,
    );
  }
}

/** @throws InvalidArgumentError */
function sharesOfBits(text: string): number[] {
  const shares = text.split(',').map(Number);
  const rising = shares.every((share, i) => share > (shares[i - 1] ?? 0) && share < 1);
  if (!rising || shares.length > 3)
    throw new InvalidArgumentError('one to three rising numbers between 0 and 1.');
  return shares;
}

/** Nothing wanted, or this. */
const fits = <T>(wanted: T | undefined, value: T): boolean => wanted === undefined || wanted === value;

function wantedPoints(bundle: Bundle, { blocks, rate, precision }: EvalFlags): number[] {
  const { name, points } = bundle.manifest;
  const wanted = points.flatMap((point, p) =>
    fits(blocks, point.n) && fits(rate, point.q) && fits(precision, point.precision ?? 'float32') ? [p] : [],
  );
  if (wanted.length === 0) {
    throw new Error(`${name} has no such point; it has ${points.map(pointName).join(', ')}`);
  }
  return wanted;
}

function accuracyTable(
  rows: readonly PointEvaluation[],
  jpegs: readonly { quality: number; row: Evaluation }[],
  unsplit: Evaluation | undefined,
): string {
  const withExit = rows.some((row) => row.exitTop1 !== undefined);
  const exit = (row?: PointEvaluation): string[] => (withExit ? [row?.exitTop1?.toFixed(1) ?? '-'] : []);
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
      ...(withExit ? ['exit top-1 %'] : []),
    ],
    [
      ...rows.map((row) => [...accuracyCells(pointName(row), row), ...exit(row)]),
      ...jpegs.map(({ quality, row }) => [
        ...accuracyCells(`JPEG quality ${quality}, whole network`, row),
        ...exit(),
      ]),
      ...(unsplit ? [[...accuracyCells('whole network on the edge', unsplit), ...exit()]] : []),
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
    rows.map(({ point, bytes, ...row }) => {
      const expected = (manifest.points[point]!.expectedBpp * pixels) / 8;
      return [
        pointName(row),
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

function prefixTable({ manifest }: Bundle, rows: readonly PrefixEvaluation[]): string {
  return table(
    ['', 'channels', 'top-1 %', 'bpp'],
    rows.flatMap(({ point, prefixes }) =>
      prefixes.map(({ channels, top1, payloadBpp }) => [
        pointName(manifest.points[point]!),
        `${channels} of ${manifest.latent.channels}`,
        top1.toFixed(1),
        payloadBpp.toFixed(3),
      ]),
    ),
  );
}

const STOP_MARGINS = [0.3, 0.5, 0.7, 0.9];

/** Each point in one slice, and beside it in several, at some stop margins. */
function slicesTable({ manifest }: Bundle, rows: readonly SlicedEvaluation[]): string {
  return table(
    ['', 'slices end at channel', 'stop margin', 'slices sent', 'top-1 %', 'bytes on the wire'],
    rows.flatMap((row) => {
      const name = pointName(manifest.points[row.point]!);
      const one = inOneSlice(row);
      const ends = row.channelEnds.join(', ');
      return [
        [name, '-', '-', '1', one.top1.toFixed(1), one.bytes.toFixed(0)],
        ...STOP_MARGINS.map((stopMargin) => {
          const { top1, bytes, slices } = stopAt(row, stopMargin);
          return [name, ends, String(stopMargin), slices.toFixed(2), top1.toFixed(1), bytes.toFixed(0)];
        }),
      ];
    }),
  );
}

/** Puts measured rows into manifest.json. */
async function record(
  flags: EvalFlags,
  rows: readonly PointEvaluation[],
  prefixes: readonly PrefixEvaluation[],
): Promise<void> {
  await editManifest(flags.bundle, (manifest) => {
    for (const { point, images, top1, top5, payloadBpp, exitTop1 } of rows) {
      const before = manifest.points[point]!.measured;
      const kept = before?.data === flags.dataName && before.images === images ? before : {};
      const first = prefixes.find((row) => row.point === point)?.prefixes;
      manifest.points[point]!.measured = {
        ...kept,
        data: flags.dataName,
        images,
        top1: rounded(top1, 2),
        top5: rounded(top5, 2),
        payloadBpp: rounded(payloadBpp, 4),
        ...(exitTop1 !== undefined && { exitTop1: rounded(exitTop1, 2) }),
        ...(first && {
          prefixes: first.map((prefix) => ({
            channels: prefix.channels,
            top1: rounded(prefix.top1, 2),
            payloadBpp: rounded(prefix.payloadBpp, 4),
          })),
        }),
      } satisfies MeasuredPoint;
    }
  });
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));
