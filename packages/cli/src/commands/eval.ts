import { availableParallelism } from 'node:os';
import { pointName, stemOf, type Bundle, type MeasuredPoint, type Precision } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import {
  emptyResults,
  evaluatePrefixes,
  evaluateSlices,
  inOneSlice,
  isClean,
  labelOf,
  labelsOf,
  listImageFolder,
  measureRows,
  needsStem,
  parseBaseline,
  ResultsStore,
  samplePhotos,
  stopAt,
  type LabelledPhoto,
  type Method,
  type PrefixEvaluation,
  type ResultRow,
  type SlicedEvaluation,
} from '@raccoon/rac';
import { Command, InvalidArgumentError, Option } from 'commander';
import { editManifest } from '../manifest-file.ts';
import { bundleOption, dataNameOption, dataOption, jsonOption, precisionOption, whole } from '../options.ts';
import { progressBar } from '../progress.ts';
import { mmac, ms, table } from '../table.ts';

interface EvalFlags {
  bundle: string;
  data: string;
  dataName: string;
  blocks?: number[];
  rate?: number[];
  precision?: Precision;
  exit?: true;
  prefixes?: true;
  slices?: number[];
  unsplit?: true;
  baseline: Method[];
  inProcess?: true;
  noise: number[];
  limit?: number;
  seed: number;
  jobs: number;
  threads?: number;
  cpuWatts?: number;
  method?: string;
  out?: string;
  record?: true;
  photos?: true;
  json?: true;
}

/** A row that is wanted, and what it is called. */
interface Wanted {
  method: Method;
  label: ReturnType<typeof labelOf>;
}

export function evalCommand(): Command {
  return new Command('eval')
    .description(
      'Measure accuracy and real bytes on labelled photos, through the real codec and a real socket.',
    )
    .addOption(bundleOption())
    .addOption(dataOption())
    .addOption(dataNameOption())
    .addOption(
      new Option(
        '-n, --blocks <n>',
        'only encoders with so many residual blocks, for instance 0,4,8',
      ).argParser(several(0)),
    )
    .addOption(new Option('-q, --rate <q>', 'only these rate levels, 0 = fewest bits').argParser(several(0)))
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
      new Option(
        '--unsplit',
        'no operating points: the unsplit network, the whole of it on the edge',
      ).conflicts(['exit', 'prefixes', 'slices', 'record']),
    )
    .addOption(
      new Option(
        '--baseline <codec>',
        'another way of the same photos to the same classifier, such as jpeg:10,20; may be repeated',
      )
        .argParser((text: string, before: Method[]) => [...before, ...baseline(text)])
        .default([], 'none'),
    )
    .option('--in-process', 'operating points to a cloud in the same process: no socket, no wire bytes')
    .addOption(
      new Option(
        '--noise <sigmas>',
        'Gaussian noise on photos, its deviation on values from 0 to 1, for instance 0,0.1,0.3: each row once for each',
      )
        .argParser(sigmas)
        .default([0], 'none')
        .conflicts(['prefixes', 'slices', 'record']),
    )
    .addOption(
      new Option('--limit <photos>', 'a class-balanced sample, the same for every row').argParser(whole(1)),
    )
    .addOption(new Option('--seed <n>', 'of the sample').argParser(whole(0)).default(1))
    .addOption(
      new Option('--jobs <count>', 'rows measured at a time; 1 where times matter')
        .argParser(whole(1))
        .default(availableParallelism(), "the processors' number"),
    )
    .addOption(
      new Option(
        '--threads <count>',
        "of each row's networks; default: the processors' number by --jobs, at most 4",
      ).argParser(whole(1)),
    )
    .addOption(
      new Option(
        '--cpu-watts <watts>',
        'of one busy processor: a modelled energy where none can be measured',
      ).argParser(whole(1)),
    )
    .option(
      '--method <name>',
      "what to call the bundle's method in results; default: as its manifest says, or raccoon",
    )
    .option('-o, --out <file>', 'results, a row at a time; rows that are in it are not measured again')
    .option('--record', "write what was measured into the bundle's manifest")
    .addOption(jsonOption())
    .option('--photos', 'with --json or --out: what became of every photo, for compare and report')
    .addHelpText(
      'after',
      `
Without --blocks, --rate and --precision: every operating point, and the unsplit network (where the bundle has one)
beside them. --record keeps what was recorded before and is not measured now, if --data-name and the number of photos
are the same. Each row is measured in a process of its own, so that its memory is the edge's.

Baselines: jpeg:10,20 or jpeg:10,20@effort=0 (1, the default, is mozjpeg), webp:5,20@effort=6 (0 to 6), avif:20,40@effort=3
(0 to 9): the photo at the network's size as a file, 4:2:0. original: the photo's file as it is. All of them with the unsplit
network in the cloud, as it was trained: not fine-tuned on compressed photos. stem-float32, stem-int8: its features where it
was split; latent-float32, latent-int8: the deepest encoder's latent; both by zstd, level 3 (@effort=1 to 22).

--noise: 8-bit photos at the network's size, as a camera in poor light gives them, the same noise for every row. compare, delta
and the curves of report leave such rows out; report has a section of its own for them.

--out keeps finished rows when it is ended, however it is ended: the same command goes on from there, and another one (not at
the same time) on the same bundle, photos, machine and threads adds its rows. What differs in those is refused. Energy is RAPL's
where it may be read (with --jobs 1 alone: it counts the whole processor), else processor time times --cpu-watts and called
modelled.

Examples:
  raccoon eval --data imagenet20/val --limit 500
  raccoon eval --data imagenet20/val --blocks 4 --rate 2 --json
  raccoon eval --data imagenet20/val --precision int8 --record
  raccoon eval --data imagenet20/val --exit --prefixes --record
  raccoon eval --data imagenet20/val --limit 1000 --blocks 8 --slices 0.25,0.5,0.75
  raccoon eval --data imagenet20/val --blocks 8 --rate 3 --baseline webp:20 --noise 0,0.05,0.1,0.2,0.4 --photos --out noise.json
  raccoon eval --data imagenet20/val --unsplit --baseline original
  raccoon eval --data imagenet20/val --limit 1000 --json --photos > mine.json
  raccoon eval --data imagenet20/val --limit 500 --blocks 8 --baseline jpeg:10,20,40 --baseline webp:5,20@effort=6
  raccoon eval --data imagenet20/val --photos --out results.json   then: raccoon report results.json --out report
  raccoon eval --bundle ./paper-n4-1.28 --method paper-n4 --data imagenet20/val --photos --out paper-1.28.json`,
    )
    .action(evaluate);
}

async function evaluate(flags: EvalFlags): Promise<void> {
  const bundle = await openBundle(flags.bundle);
  const { manifest } = bundle;
  const wanted = wantedRows(bundle, flags);
  if (wanted.some(({ method }) => needsStem(method))) stemOf(manifest); // or says now that there is none, not after an hour
  if (flags.exit && !manifest.exit) {
    throw new Error(`${manifest.name} has no local exit: train and export it with this version`);
  }
  const all = await listImageFolder(flags.data);
  const photos = samplePhotos(all, flags.limit ?? all.length, flags.seed);
  labelsOf(bundle, photos); // or says now which photo is of no class
  const points = wanted.flatMap(({ method }) => (method.kind === 'point' ? [method.point] : []));
  const threads = flags.threads ?? Math.min(4, Math.max(1, Math.floor(availableParallelism() / flags.jobs)));

  const empty = emptyResults({
    command: commandLine(),
    manifest,
    photos,
    dataName: flags.dataName,
    seed: photos.length < all.length ? flags.seed : null,
    threads,
  });
  const store = flags.out === undefined ? undefined : new ResultsStore(flags.out, empty);
  const rows = wanted.map(({ label }) => {
    const row = store?.find(label);
    return row && (row.photos || !flags.photos) ? row : undefined;
  });
  const missing = [...rows.keys()].filter((i) => !rows[i]);

  const bar = progressBar('photos');
  const passes =
    missing.length + points.length * (Number(flags.prefixes ?? 0) + Number(flags.slices !== undefined));
  let before = 0;
  const progress = (done: number): void => bar.update(before + done, photos.length * passes);
  let prefixes: PrefixEvaluation[] = [];
  let sliced: SlicedEvaluation[] = [];
  try {
    await measureRows(
      flags.bundle,
      photos,
      missing.map((i) => wanted[i]!.method),
      { jobs: flags.jobs, threads, cpuWatts: flags.cpuWatts, onProgress: progress },
      ({ photos: outcomes, ...row }, done) => {
        const i = missing[done]!;
        rows[i] = { ...wanted[i]!.label, ...row, ...(flags.photos && { photos: outcomes }) };
        store?.put(rows[i]);
      },
    );
    before += missing.length * photos.length;
    if (flags.prefixes) prefixes = await evaluatePrefixes(bundle, photos, points, progress);
    before += prefixes.length * photos.length;
    if (flags.slices) sliced = await evaluateSlices(bundle, photos, points, flags.slices, progress);
  } finally {
    bar.stop();
  }

  const shown = wanted.map(({ method }, i) => ({ method, row: rows[i]! }));
  if (flags.record) await record(flags, shown, prefixes);
  if (flags.json) {
    const { name, version } = manifest;
    const context = { bundle: name, version, data: flags.dataName, seed: flags.seed };
    process.stdout.write(
      `${JSON.stringify({ ...context, ...forPrograms(shown), ...(flags.prefixes && { prefixes }), ...(flags.slices && { slices: sliced }) })}\n`,
    );
    return;
  }
  print(bundle, photos, flags, shown, rows.length - missing.length);
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

/** A row, and what it is of. */
interface Shown {
  method: Method;
  row: ResultRow;
}

/** Points as `raccoon compare` and `delta` read them; `unsplit` on the edge; the others as in a results file. */
function forPrograms(shown: readonly Shown[]): object {
  const clean = shown.filter(({ row }) => isClean(row));
  const noisy = shown.filter(({ row }) => !isClean(row)).map(({ row }) => row);
  const unsplit = clean.find(({ method }) => method.kind === 'unsplit');
  return {
    points: clean.flatMap(({ method, row }) =>
      method.kind === 'point' ? [{ point: method.point, ...pointOf(row), ...measured(row) }] : [],
    ),
    baselines: clean
      .filter(({ method }) => method.kind !== 'point' && method.kind !== 'unsplit')
      .map(({ row }) => row),
    ...(unsplit && { unsplit: measured(unsplit.row) }),
    ...(noisy.length > 0 && { noisy }),
  };
}

/** A row without what it is called. */
function measured(row: ResultRow): object {
  const { method: _, series: __, point: ___, settings: ____, ...rest } = row;
  return rest;
}

/** n, q and precision of an operating point's row. */
function pointOf({ settings }: ResultRow): { n: number; q: number; precision: Precision } {
  return settings as { n: number; q: number; precision: Precision }; // of `labelOf`
}

/** As it was typed, for the results; without the way to this program. */
function commandLine(): string {
  const quoted = process.argv
    .slice(2)
    .map((word) => (/^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
  return ['npx', 'raccoon', ...quoted].join(' ');
}

function print(
  bundle: Bundle,
  photos: readonly LabelledPhoto[],
  { dataName, out, jobs }: EvalFlags,
  shown: readonly Shown[],
  kept: number,
): void {
  const { name, version, classes } = bundle.manifest;
  const from = kept > 0 ? `; ${kept} of ${shown.length} rows are those of ${out}` : '';
  const busy = jobs > 1 && shown.length > 1 ? `; times are of ${jobs} rows at a time (--jobs 1: alone)` : '';
  process.stdout.write(
    `${name} ${version}, ${photos.length} photos of ${dataName}, ${classes.length}-way; measured${from}${busy}\n\n` +
      `${accuracyTable(shown)}\n`,
  );
  const points = shown.filter(({ method }) => method.kind === 'point');
  if (points.length > 0) {
    process.stdout.write(
      `\nWhere the bytes go, means per image (entropy model: estimated at export; the rest: what was written)\n\n`,
    );
    process.stdout.write(`${byteTable(bundle, points)}\n`);
  }
}

/** Whole numbers of at least `min`. */
function several(min: number): (text: string) => number[] {
  return (text) => text.split(',').map(whole(min));
}

/** @throws InvalidArgumentError */
function baseline(text: string): Method[] {
  try {
    return parseBaseline(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** @throws InvalidArgumentError */
function sigmas(text: string): number[] {
  const values = text.split(',').map((one) => (one.trim() === '' ? Number.NaN : Number(one)));
  if (!values.every((sigma) => sigma >= 0 && sigma <= 1)) {
    throw new InvalidArgumentError('numbers from 0 to 1, for instance 0,0.1,0.3.');
  }
  return [...new Set(values)];
}

/** @throws InvalidArgumentError */
function sharesOfBits(text: string): number[] {
  const shares = text.split(',').map(Number);
  const rising = shares.every((share, i) => share > (shares[i - 1] ?? 0) && share < 1);
  if (!rising || shares.length > 3)
    throw new InvalidArgumentError('one to three rising numbers between 0 and 1.');
  return shares;
}

/** Points first, then the unsplit network, then baselines. @throws Error: no such point */
function wantedRows(bundle: Bundle, flags: EvalFlags): Wanted[] {
  const { manifest } = bundle;
  const { blocks, rate, precision, exit = false, inProcess = false, unsplit = false } = flags;
  const everyPoint = [blocks, rate, precision].every((chosen) => chosen === undefined);
  const points = unsplit
    ? []
    : wantedPoints(bundle, flags).map((point): Method => ({ kind: 'point', point, exit, inProcess }));
  const withUnsplit = unsplit || (everyPoint && manifest.stem !== undefined);
  const methods: Method[] = [
    ...points,
    ...(withUnsplit ? [{ kind: 'unsplit' } as const] : []),
    ...flags.baseline,
  ];
  if (flags.noise.some((sigma) => sigma > 0) && methods.some(({ kind }) => kind === 'original')) {
    throw new Error('--noise: the baseline original is the file as it is, to which nothing can be added');
  }
  return methods
    .flatMap((method) => flags.noise.map((noise): Method => (noise > 0 ? { ...method, noise } : method)))
    .map((method) => ({ method, label: labelOf(manifest, method, flags.method) }));
}

function wantedPoints(bundle: Bundle, { blocks, rate, precision }: EvalFlags): number[] {
  const { name, points } = bundle.manifest;
  const wanted = points.flatMap((point, p) =>
    (blocks?.includes(point.n) ?? true) &&
    (rate?.includes(point.q) ?? true) &&
    (precision ?? point.precision ?? 'float32') === (point.precision ?? 'float32')
      ? [p]
      : [],
  );
  if (wanted.length === 0) {
    throw new Error(`${name} has no such point; it has ${points.map(pointName).join(', ')}`);
  }
  return wanted;
}

function accuracyTable(shown: readonly Shown[]): string {
  const withExit = shown.some(({ row }) => row.exitTop1 !== undefined);
  const withEnergy = shown.some(({ row }) => row.energyMillijoule !== null);
  return table(
    [
      '',
      'top-1 %',
      '95 %',
      'top-5 %',
      'bpp',
      'wire bpp',
      'bytes',
      'encode p50',
      'p95',
      'entropy',
      'cloud',
      'edge MAC',
      'parameters',
      'memory',
      ...(withEnergy ? ['energy'] : []),
      ...(withExit ? ['exit top-1 %'] : []),
    ],
    shown.map(({ method, row }) => [
      nameOf(method, row),
      row.top1.toFixed(1),
      row.top1Interval?.map((end) => end.toFixed(1)).join('-') ?? '-',
      row.top5.toFixed(1),
      row.payloadBpp.toFixed(3),
      row.wireBpp?.toFixed(3) ?? '-',
      row.bytesPerImage.toFixed(0),
      row.encodeMs ? ms(row.encodeMs.p50) : '-',
      row.encodeMs ? ms(row.encodeMs.p95) : '-',
      entropyOf(row),
      row.cloudMs === null ? '-' : ms(row.cloudMs),
      mmac(row.edgeMacs ?? 0),
      thousands(row.edgeParameters ?? 0),
      row.peakMemoryMiB === null ? '-' : `${row.peakMemoryMiB.toFixed(0)} MiB`,
      ...(withEnergy ? [energyOf(row)] : []),
      ...(withExit ? [row.exitTop1?.toFixed(1) ?? '-'] : []),
    ]),
  );
}

function nameOf(method: Method, row: ResultRow): string {
  const noise = method.noise ? `, noise ${method.noise}` : '';
  if (method.kind === 'point') return pointName(pointOf(row)) + noise;
  const name =
    row.series === row.method && row.method.startsWith('unsplit') ? row.point : `${row.series} ${row.point}`;
  return name + noise;
}

/** In ms, and as a share of encoding. */
function entropyOf({ entropyMs, encodeMs }: ResultRow): string {
  if (entropyMs === null) return '-';
  return encodeMs ? `${ms(entropyMs)}, ${((100 * entropyMs) / encodeMs.p50).toFixed(0)} %` : ms(entropyMs);
}

const thousands = (count: number): string => `${(count / 1000).toFixed(0)} k`;

function energyOf({ energyMillijoule: energy }: ResultRow): string {
  return energy ? `${energy.value.toFixed(1)} mJ${energy.source === 'modelled' ? ' (modelled)' : ''}` : '-';
}

function byteTable({ manifest }: Bundle, shown: readonly Shown[]): string {
  const pixels = manifest.input.width * manifest.input.height;
  return table(
    ['', 'entropy model', 'words', 'difference', 'flush', 'header', 'protobuf', 'gRPC', 'HTTP/2'],
    shown.flatMap(({ method, row }) => {
      if (method.kind !== 'point' || !row.bytes) return [];
      const { bytes } = row;
      const expected = (manifest.points[method.point]!.expectedBpp * pixels) / 8;
      return [
        [
          nameOf(method, row),
          expected.toFixed(1),
          bytes.words.toFixed(1),
          `${(100 * (bytes.words / expected - 1)).toFixed(2)} %`,
          bytes.flush.toFixed(1),
          String(bytes.header),
          bytes.protobuf.toFixed(1),
          String(bytes.grpc),
          bytes.http2.toFixed(1),
        ],
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
  shown: readonly Shown[],
  prefixes: readonly PrefixEvaluation[],
): Promise<void> {
  await editManifest(flags.bundle, (manifest) => {
    for (const { method, row } of shown) {
      if (method.kind !== 'point') continue;
      const { point } = method;
      const { images, top1, top5, payloadBpp, exitTop1 } = row;
      const before = manifest.points[point]!.measured;
      const kept = before?.data === flags.dataName && before.images === images ? before : {};
      const first = prefixes.find((one) => one.point === point)?.prefixes;
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
