import { writeFile } from 'node:fs/promises';
import { pointName, type Bundle, type CalibrationFile, type ExitCalibration } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import {
  calibrateExits,
  listImageFolder,
  samplePhotos,
  type Cascade,
  type CascadeReport,
  type CascadeRow,
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
import { photoFiles } from '../photo-files.ts';
import { progressBar } from '../progress.ts';
import { table } from '../table.ts';

interface CalibrateFlags extends PointOptions {
  bundle: string;
  data: string;
  dataName: string;
  precision?: ExitCalibration['precision'];
  limit?: number;
  maxDrop: number;
  outside?: string;
  closed?: true;
  seed: number;
  out?: string;
  record?: true;
  json?: true;
}

export function calibrateCommand(): Command {
  return new Command('calibrate')
    .description(
      'When the local exit may answer: its temperature, the threshold D0, and what a cascade saves.',
    )
    .addOption(bundleOption())
    .addOption(dataOption())
    .addOption(dataNameOption())
    .addOption(blocksOption())
    .addOption(rateOption())
    .addOption(precisionOption())
    .addOption(new Option('--limit <photos>', 'a class-balanced sample').argParser(whole(20)))
    .addOption(
      new Option('--max-drop <points>', 'of top-1 that may be lost against sending everything')
        .argParser(inPoints)
        .default(1),
    )
    .option(
      '--outside <folder>',
      'photos of classes that the exit was not trained on: can it be trusted there?',
    )
    .addOption(
      new Option(
        '--closed',
        'exit and cloud choose among the classes of --data only, for comparison',
      ).conflicts(['out', 'record']),
    )
    .addOption(new Option('--seed <n>', 'of the sample and of its halves').argParser(whole(0)).default(1))
    .option('-o, --out <file>', 'write the calibration there, for raccoon edge --calibration')
    .option('--record', "write it into the bundle's manifest")
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Temperature, D0 and alpha are chosen on one half of the photos; everything that is printed is of the other half. Without
--blocks and --precision: every encoder; without --rate: the default rate.

An exit answers on its own only if it is trusted: if the photos are of every class of the bundle, or if it agrees with the
unsplit network on --outside nearly as often as on --data. Else it answers where nothing else can.

Examples:
  raccoon calibrate --data imagenet20/val --blocks 8 --rate 3 --outside samples
  raccoon calibrate --data imagenet20/val --limit 1000 --max-drop 0.5 --out exit.json
  raccoon calibrate --data imagenet20/val --outside samples --record`,
    )
    .action(calibrate);
}

async function calibrate(flags: CalibrateFlags): Promise<void> {
  const bundle = await openBundle(flags.bundle);
  const { name, version } = bundle.manifest;
  const all = await listImageFolder(flags.data);
  const photos = samplePhotos(all, flags.limit ?? all.length, flags.seed);
  const outside = flags.outside === undefined ? undefined : await photoFiles([flags.outside]);
  const wanted = wantedPoints(bundle, flags);

  const bar = progressBar('photos');
  const reports = await calibrateExits(
    bundle,
    photos,
    wanted,
    {
      dataName: flags.dataName,
      maxDrop: flags.maxDrop,
      seed: flags.seed,
      ...(flags.closed && { closed: true }),
      ...(outside && { outside: { name: flags.outside!, paths: outside } }),
    },
    (done, total) => bar.update(done, total),
  ).finally(() => bar.stop());

  const encoders = reports.map(({ calibration }) => calibration);
  if (flags.out !== undefined) {
    const file: CalibrationFile = {
      format: 'raccoon-calibration',
      version: 1,
      bundle: { name, version },
      encoders,
    };
    await writeFile(flags.out, `${JSON.stringify(file, undefined, 1)}\n`);
  }
  if (flags.record) {
    await editManifest(flags.bundle, (manifest) => {
      const kept =
        manifest.exit!.calibration?.filter((old) => !encoders.some((one) => sameEncoder(one, old))) ?? [];
      manifest.exit!.calibration = [...kept, ...encoders];
    });
  }
  if (flags.json) {
    const context = { bundle: name, version, data: flags.dataName, seed: flags.seed, maxDrop: flags.maxDrop };
    process.stdout.write(`${JSON.stringify({ ...context, encoders: reports })}\n`);
    return;
  }
  process.stdout.write(reports.map((report) => textOf(bundle, report)).join('\n\n') + '\n');
}

function sameEncoder(one: ExitCalibration, other: ExitCalibration): boolean {
  return one.n === other.n && one.precision === other.precision;
}

/** One point for each encoder that fits, at the rate that is wanted, or the default one. */
function wantedPoints(bundle: Bundle, { blocks, rate, precision }: CalibrateFlags): number[] {
  const { name, points, defaultPoint } = bundle.manifest;
  const q = rate ?? points[defaultPoint]!.q;
  const wanted = points.flatMap((point, p) =>
    point.q === q &&
    (blocks === undefined || point.n === blocks) &&
    (precision === undefined || (point.precision ?? 'float32') === precision)
      ? [p]
      : [],
  );
  if (wanted.length > 0) return wanted;
  throw new Error(`${name} has no such point; it has ${points.map(pointName).join(', ')}`);
}

function textOf(bundle: Bundle, report: CascadeReport): string {
  const { point, calibration, exitTop1, always, alone, summed, wasserstein } = report;
  const { temperature, ece, alpha, measured } = calibration;
  return [
    `${pointName(bundle.manifest.points[point]!)}: chosen on ${measured.calibrated} photos of ${measured.data}, reported on ${measured.reported} others`,
    `exit alone ${exitTop1.toFixed(1)} %; temperature ${temperature.toFixed(2)}; ` +
      `calibration error ${ece.before.toFixed(3)} before, ${ece.after.toFixed(3)} after`,
    `right from wrong answers (Wasserstein): max p ${wasserstein.confidence.toFixed(3)}, p1 - p2 ${wasserstein.margin.toFixed(3)}`,
    '',
    `What is sent is answered by the cloud alone${alpha === undefined ? '' : ' (not chosen)'}`,
    '',
    curveTable(alone, always),
    '',
    `What is sent is answered by ${summed.alpha} x cloud + exit${alpha === undefined ? ' (not chosen)' : ''}`,
    '',
    curveTable(summed, always),
    '',
    trustText(calibration),
  ].join('\n');
}

function curveTable({ curve, chosen, difference }: Cascade, always: CascadeReport['always']): string {
  const row = (label: string, { sent, bytesPerImage, top1 }: CascadeRow): string[] => [
    label,
    `${sent.toFixed(1)} %`,
    bytesPerImage.toFixed(0),
    `${(100 * (1 - bytesPerImage / always.bytesPerImage)).toFixed(1)} %`,
    top1.toFixed(1),
    signed(top1 - always.top1),
  ];
  const rows = table(
    ['D0', 'sent', 'bytes', 'saved', 'top-1 %', 'difference'],
    [
      ...curve.map((one) => row(one.threshold.toFixed(2), one)),
      row(`${chosen.threshold.toFixed(2)}, chosen`, chosen),
    ],
  );
  const { low, high } = difference;
  return `${rows}\n95 % interval of what is chosen: ${signed(low)} to ${signed(high)} points`;
}

/** The decision and the measurement that decided. */
function trustText({ trusted, inside, outside }: ExitCalibration): string {
  if (!inside || !outside) {
    return trusted
      ? 'trusted: the photos are of every class of the bundle'
      : 'not trusted: nothing says how it does on other classes (--outside, and a bundle with its unsplit network); ' +
          'it answers where nothing else can';
  }
  const same = ({ exit, cloud, images }: typeof inside): string =>
    `exit ${counts(exit, images)}, cloud ${counts(cloud, images)}`;
  return (
    `${trusted ? 'trusted' : 'not trusted; it answers where nothing else can'}. Photos with the unsplit network's first class: ` +
    `${same(inside)} of these classes; ${same(outside)} of others (${outside.data})`
  );
}

const counts = (of: number, images: number): string => `${Math.round((of * images) / 100)} of ${images}`;
const signed = (value: number): string => `${value > 0 ? '+' : ''}${value.toFixed(1)}`;

function inPoints(value: string): number {
  const points = Number(value);
  if (!(points >= 0 && points <= 100))
    throw new InvalidArgumentError('it must be a number of points, 0 to 100.');
  return points;
}
