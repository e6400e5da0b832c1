import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Precision } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import type { DeviceProfile, DeviceProfileRow, Envelope } from '@raccoon/edge';
import { profilePath, saveProfile } from '@raccoon/edge/node';
import {
  benchDevice,
  headRoom,
  measureEnvelope,
  plotPage,
  plotSvg,
  withUtilisation,
  type DeviceBenchOptions,
  type Plot,
  type PlotSeries,
} from '@raccoon/rac';
import { Command, InvalidArgumentError, Option } from 'commander';
import { blocksOption, bundleOption, jsonOption, precisionOption, rateOption, whole } from '../options.ts';
import { photoFiles } from '../photo-files.ts';
import { progressBar } from '../progress.ts';
import { bytes, mmac, table } from '../table.ts';

interface BenchFlags {
  bundle: string;
  blocks?: number;
  rate?: number;
  precision?: Precision;
  threads?: number[];
  spin: boolean[];
  repeats: number;
  cpuWatts?: number;
  envelope?: true;
  quick?: true;
  out?: string;
  svg?: string;
  html?: string;
  json?: true;
}

/** The sample photos of the repository that this file is built in. */
const SAMPLES = fileURLToPath(new URL('../../../../samples', import.meta.url));

const WARM_UPS = 10;

export function benchCommand(): Command {
  return new Command('bench')
    .description("This machine's device profile: time, rate, memory and power of every encoder of a bundle.")
    .argument('[photos...]', 'files or folders, encoded in turn; default: the sample photos')
    .addOption(bundleOption())
    .addOption(blocksOption())
    .addOption(rateOption())
    .addOption(precisionOption())
    .addOption(
      new Option(
        '--threads <counts>',
        "of the encoder, for instance 1,2; default: 1 and the processors' number",
      ).argParser((text) => text.split(',').map(whole(1))),
    )
    .addOption(
      new Option('--spin <modes>', "whether the encoder's idle threads spin: off, on, or off,on")
        .argParser(spinModes)
        .default([false], 'off'),
    )
    .addOption(new Option('--repeats <n>', 'runs that count').argParser(whole(1)).default(50))
    .addOption(
      new Option(
        '--cpu-watts <watts>',
        'of one busy processor: a modelled power where none can be measured',
      ).argParser(whole(1)),
    )
    .option('--envelope', 'what the device can do at most, by networks of 1e6 to 1e10 multiply-accumulates')
    .option('--quick', 'fewer repeats, fewer networks')
    .option(
      '-o, --out <file>',
      "default: where `raccoon edge` looks for this bundle's profile, if it is of all encoders",
    )
    .option('--svg <file>', 'the plot: times, or with --envelope that')
    .option('--html <file>', 'the plots and tables as a page')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Each encoder is warmed up ${WARM_UPS} times and run 50 times, one photo at a time; then as many again with the next photo
decoded meanwhile, for the rate. Times are medians, and the 95 % quantile. Power is RAPL's where it may be read
(measured), else processor seconds times --cpu-watts (modelled), else left out. The profile is what \`raccoon plan\`,
\`--blocks auto\` and \`--precision auto\` read. Quiet machine, please.

Examples:
  raccoon bench                            every encoder, 1 and all threads; writes the profile
  raccoon bench --envelope --html me.html  and what the device could do at most
  raccoon bench --spin off,on --threads 2  do spinning threads pay here?
  raccoon bench photos/ --json             on photos of yours, for programs`,
    )
    .action(bench);
}

function spinModes(text: string): boolean[] {
  return text.split(',').map((mode) => {
    if (mode !== 'on' && mode !== 'off') throw new InvalidArgumentError('it must be off, on, or off,on.');
    return mode === 'on';
  });
}

async function bench(paths: string[], flags: BenchFlags): Promise<void> {
  const bundle = await openBundle(flags.bundle);
  const photos = await photoFiles(paths.length > 0 ? paths : [SAMPLES]);
  const encoders = progressBar('encoders');
  const options: DeviceBenchOptions = {
    spin: flags.spin,
    warmUps: flags.quick ? 2 : WARM_UPS,
    repeats: flags.quick ? Math.min(10, flags.repeats) : flags.repeats,
    onProgress: (done, total) => encoders.update(done, total),
    ...(flags.blocks !== undefined && { blocks: flags.blocks }),
    ...(flags.rate !== undefined && { rate: flags.rate }),
    ...(flags.precision !== undefined && { precision: flags.precision }),
    ...(flags.threads !== undefined && { threads: flags.threads }),
    ...(flags.cpuWatts !== undefined && { cpuWatts: flags.cpuWatts }),
  };
  let profile = await benchDevice(bundle, photos, options).finally(() => encoders.stop());
  if (flags.envelope) profile = { ...profile, envelope: await envelope(profile, flags.quick ?? false) };

  const { manifest } = bundle;
  const complete = flags.blocks === undefined && flags.precision === undefined;
  const out = flags.out ?? (complete ? profilePath(manifest) : undefined); // a part is not to replace the whole
  if (out !== undefined) await saveProfile(profile, out);
  if (flags.svg !== undefined || flags.html !== undefined) await plots(profile, flags);
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(profile)}\n`);
    return;
  }
  process.stdout.write(`${profileText(profile)}\n`);
  if (profile.envelope) process.stdout.write(`\n${envelopeText(profile.envelope)}\n`);
  if (out !== undefined) process.stdout.write(`\nprofile: ${out}\n`);
}

async function plots(profile: DeviceProfile, { svg, html }: Pick<BenchFlags, 'svg' | 'html'>): Promise<void> {
  const { bundle, device, envelope: bound } = profile;
  const figures = [{ svg: await plotSvg(timesPlot(profile)), text: profileText(profile) }];
  if (bound) figures.push({ svg: await plotSvg(envelopePlot(bound)), text: envelopeText(bound) });
  if (svg !== undefined) await writeFile(svg, figures.at(-1)!.svg);
  if (html !== undefined) {
    await writeFile(html, plotPage(`${bundle.name} ${bundle.version} on ${device.cpu}`, figures));
  }
}

/** The envelope in the fastest of the measured ways. */
async function envelope({ rows }: DeviceProfile, quick: boolean): Promise<Envelope> {
  const networks = progressBar('networks');
  const { threads, spin } = rows.toSorted((a, b) => b.macsPerSecond - a.macsPerSecond)[0]!;
  const onProgress = (done: number, total: number): void => networks.update(done, total);
  const measured = await measureEnvelope({ threads, spin, quick, onProgress }).finally(() => networks.stop());
  return withUtilisation(measured, rows);
}

function profileText({ bundle, device, rows, photos, repeats, warmUps }: DeviceProfile): string {
  const withPower = rows.some(({ power }) => power);
  const cells = (row: DeviceProfileRow): string[] => [
    encoderName(row),
    `${row.threads}${row.spin ? ' spin' : ''}`,
    ...[row.imageMs, row.encoderMs, row.codecMs, row.totalMs].map(
      ({ p50, p95 }) => `${p50.toFixed(2)} / ${p95.toFixed(2)}`,
    ),
    row.imagesPerSecond.toFixed(0),
    (row.macsPerSecond / 1e9).toFixed(2),
    bytes(row.bytes),
    `${(row.peakRssBytes / 2 ** 20).toFixed(0)} MiB`,
    `${row.loadMs.toFixed(0)} ms`,
    ...(withPower
      ? [
          row.power
            ? `${row.power.watts.toFixed(1)} W, ${(1000 * row.power.joulesPerImage).toFixed(0)} mJ`
            : '',
        ]
      : []),
  ];
  const source = rows.find(({ power }) => power)?.power?.source;
  return [
    `${bundle.name} ${bundle.version} on ${device.cpu}, ${device.processors} processors, Node ${device.node}, ONNX Runtime ${device.onnxRuntime}`,
    `${photos} photos in turn, ${warmUps} warm-ups, ${repeats} repeats; ms: median / 95 % quantile`,
    '',
    table(
      [
        'encoder',
        'threads',
        'image',
        'encoder',
        'coding',
        'total',
        'images/s',
        'GMAC/s',
        'per image',
        'peak RSS',
        'load',
        ...(source ? [`power, ${source}`] : []),
      ],
      rows.map(cells),
      2,
    ),
  ].join('\n');
}

function envelopeText(of: Envelope): string {
  return [
    `at most ${(of.bound.at(-1)! / 1e9).toFixed(1)} GMAC/s in 3x3 convolutions, ${of.threads} thread(s)${of.spin ? ', spinning' : ''}; 90 % of it from ${mmac(of.knee.macs)}MAC on`,
    headRoom(of),
    '',
    table(
      ['encoder', 'MAC', 'GMAC/s', 'of the bound'],
      of.encoders.map((encoder) => [
        encoderName(encoder),
        mmac(encoder.macs),
        (encoder.macsPerSecond / 1e9).toFixed(1),
        `${(100 * encoder.utilisation).toFixed(0)} %`,
      ]),
    ),
  ].join('\n');
}

function timesPlot({ rows, device }: DeviceProfile): Plot {
  const names = new Set(rows.map(wayName));
  const series = [...names].map((name): PlotSeries => {
    const points = rows
      .filter((row) => wayName(row) === name)
      .map(({ macs, encoderMs: { p50, p95 } }) => ({ x: macs / 1e6, y: p50, low: p50, high: p95 }));
    return { name, points };
  });
  return {
    title: `Encoder on ${device.cpu}: median, and up to the 95 % quantile`,
    x: { title: 'encoder (million multiply-accumulates)', zero: true },
    y: { title: 'time (ms)', zero: true },
    series,
  };
}

function onEnvelope({ macs, macsPerSecond }: { macs: number; macsPerSecond: number }): {
  x: number;
  y: number;
} {
  return { x: macs / 1e6, y: macsPerSecond / 1e9 };
}

function envelopePlot({ points, bound, encoders }: Envelope): Plot {
  return {
    title: "The device's envelope",
    x: { title: 'network (million multiply-accumulates)', scale: 'log' },
    y: { title: 'rate (GMAC/s)', scale: 'log' },
    series: [
      { name: 'bound', points: points.map((point, i) => onEnvelope({ ...point, macsPerSecond: bound[i]! })) },
      { name: '3x3 convolutions', points: points.map(onEnvelope), as: 'points' },
      { name: 'encoders of the bundle', points: encoders.map(onEnvelope), as: 'points' },
    ],
  };
}

const encoderName = ({ n, precision }: { n: number; precision: Precision }): string => `n=${n} ${precision}`;
const wayName = ({ precision, threads, spin }: DeviceProfileRow): string =>
  `${precision}, ${threads} thread${threads > 1 ? 's' : ''}${spin ? ', spinning' : ''}`;
