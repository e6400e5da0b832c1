import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import {
  BundleError,
  parseCalibration,
  type Bundle,
  type ExitCalibration,
  type Precision,
} from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import {
  connect,
  isFailure,
  type Classification,
  type Client,
  type ConnectOptions,
  type Outcome,
} from '@raccoon/client';
import { camera, isLive, photos, piped, video, watch, type LiveImages } from '@raccoon/client/sources';
import {
  choosePrecision,
  parseProfile,
  POLICY_NAMES,
  type DeviceProfile,
  type ImageInput,
  type PolicyName,
} from '@raccoon/edge';
import { findProfile } from '@raccoon/edge/node';
import { TransportError } from '@raccoon/transport';
import { Command, InvalidArgumentError, Option } from 'commander';
import { report } from '../failure.ts';
import { bundleOption, jsonOption, whole } from '../options.ts';
import { bytes, ms, percent } from '../table.ts';
import { readToken } from '../token-file.ts';

interface EdgeFlags {
  cloud: string;
  streams?: number;
  bundle: string;
  blocks?: number | 'auto';
  rate?: number | 'auto';
  precision?: Precision | 'auto';
  policy?: PolicyName;
  deadlineMs?: number;
  maxBytesPerSecond?: number;
  maxCpuShare?: number;
  exitThreshold?: number;
  calibration?: string;
  profile?: string;
  state?: string;
  patience?: number;
  recursive?: true;
  watch?: true;
  video?: string;
  fps?: number;
  background?: true;
  tls?: true;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsServerName?: string;
  tokenFile?: string;
  top: number;
  explain?: true;
  json?: true;
}

/** One image and what a line calls it. */
interface Named {
  readonly name: string;
  readonly image: ImageInput;
}

interface Source {
  readonly images: AsyncIterable<Named>;
  /** A camera's, or a folder's that one writes to. */
  readonly live?: LiveImages<unknown>;
}

export function edgeCommand(): Command {
  return new Command('edge')
    .description('Encode photos here and have a cloud classify them.')
    .argument(
      '[photos...]',
      'files, folders, patterns, or - for stdin: one photo, or JPEGs one after the other',
    )
    .addOption(
      new Option(
        '-c, --cloud <host:port>',
        'where `raccoon cloud` runs; several, a:1,b:2, or dns:///name:port for all addresses of a name, share the images',
      ).default('127.0.0.1:50051'),
    )
    .addOption(
      new Option(
        '--streams <n>',
        'to the cloud, at most (default: one to each replica, up to 8); 1: the other replicas are for when one is gone',
      ).argParser(whole(1)),
    )
    .addOption(bundleOption())
    .addOption(
      new Option(
        '-n, --blocks <n|auto>',
        'residual blocks of the encoder: more cost more and see more',
      ).argParser(orAuto),
    )
    .addOption(new Option('-q, --rate <q|auto>', 'rate level, 0 = fewest bits').argParser(orAuto))
    .addOption(
      new Option(
        '--precision <arithmetic>',
        "of the encoder; auto: what this device's profile shows to be faster at no loss",
      ).choices(['float32', 'int8', 'auto']),
    )
    .addOption(
      new Option(
        '--policy <name>',
        'who chooses point and place for each image; auto: most expected accuracy',
      ).choices(POLICY_NAMES),
    )
    .addOption(
      new Option(
        '--deadline-ms <ms>',
        'time for one image, from here and back: in the end the local exit answers, where there is one',
      ).argParser(whole(1)),
    )
    .addOption(new Option('--max-bytes-per-second <bytes>', 'sent, a mean over seconds').argParser(above0))
    .addOption(new Option('--max-cpu-share <share>', 'of one processor, for encoding').argParser(above0))
    .addOption(
      new Option('--exit-threshold <margin>', 'the local exit answers above this margin, 0 to 1').argParser(
        margin,
      ),
    )
    .option(
      '--calibration <file.json>',
      'of the local exit, by `raccoon calibrate`; default: what the bundle has',
    )
    .option('--profile <file.json>', 'of this device; default: what `raccoon bench` left in the cache')
    .option('--state <file.json>', 'what the policy learns is kept here, from run to run')
    .option('--recursive', 'folders within folders, too')
    .option('--watch', 'the photos that are written into a folder from now on, until Ctrl-C')
    .option('--video <file, camera or URL>', 'the frames of a video, or of /dev/video0, through ffmpeg')
    .addOption(new Option('--fps <count>', 'frames a second, with --video; default: all').argParser(above0))
    .addOption(
      new Option('--patience <seconds>', 'how long to look for a cloud that is gone (default: 30)').argParser(
        above0,
      ),
    )
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
    .option('--explain', 'why each image went where it did')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  raccoon edge samples/                                 every photo of a folder
  raccoon edge 'photos/**/*.jpg' --json                 whatever matches, for programs
  raccoon edge cat.jpg --cloud 10.0.0.7:50051 -n 0 -q 0 the cheapest encoder, the fewest bits
  raccoon edge incoming/ --watch --policy auto --deadline-ms 500 --explain
                                                        what a camera writes; an answer in half a second, come what may
  raccoon edge --video /dev/video0 --fps 5 --policy auto --max-bytes-per-second 8000 --state edge.json
  raccoon edge samples/ --cloud cloud.example:50051 --tls-ca ca.pem --token-file token.txt
  raccoon edge samples/ --cloud dns:///raccoon-headless:50051
                                                        several replicas: each image goes where its answer comes first
  cat *.jpg | raccoon edge -                            photos from a pipe`,
    )
    .action(edge);
}

async function edge(paths: string[], flags: EdgeFlags, command: Command): Promise<void> {
  if (paths.length === 0 && flags.video === undefined)
    command.error("error: missing required argument 'photos'");
  const stop = new AbortController();
  const interrupt = (): void => stop.abort(); // once: what is under way is answered; twice: the end
  process.once('SIGINT', interrupt);
  const source = await sourceOf(paths, flags, stop.signal);
  const client = await connect(await optionsOf(flags));
  const tally = new Tally();
  try {
    if (flags.state !== undefined) await restore(client, flags.state);
    await run(client, source, flags, tally);
  } finally {
    process.off('SIGINT', interrupt);
    if (flags.state !== undefined) await save(client, flags.state);
    await client.close();
  }
}

async function run(client: Client, { images, live }: Source, flags: EdgeFlags, tally: Tally): Promise<void> {
  const names = new Map<number, string>(); // by index, of images without an outcome
  let index = 0;
  async function* unnamed(): AsyncGenerator<ImageInput> {
    for await (const { name, image } of images) {
      names.set(index++, name);
      yield image;
    }
  }
  for await (const outcome of client.classify(unnamed())) {
    const name = names.get(outcome.index)!;
    names.delete(outcome.index);
    tally.add(outcome);
    if (!isFailure(outcome)) {
      process.stdout.write(
        flags.json ? `${JSON.stringify(toJson(name, outcome))}\n` : lines(name, outcome, flags),
      );
    } else if (!live && concernsAll(outcome.error)) {
      // the link or the encoder, not this image: the others would fail alike
      report(`${outcome.error.message} (${tally.answered} photos answered)`);
      return;
    } else {
      report(outcome.error, name);
    }
  }
  if (process.stderr.isTTY || tally.images > 1) process.stderr.write(tally.line(live?.dropped));
}

function concernsAll(error: Error): boolean {
  if (error instanceof TransportError) return error.code !== 'deadline';
  return error instanceof BundleError;
}

async function sourceOf(
  paths: readonly string[],
  { video: film, fps, watch: watched, recursive }: EdgeFlags,
  signal: AbortSignal,
): Promise<Source> {
  if (film !== undefined) {
    if (paths.length > 0 || watched)
      throw new Error('--video is a source by itself: leave photos and --watch out');
    const options = { signal, ...(fps !== undefined && { fps }) };
    const name = (i: number): string => `${basename(film)}#${i + 1}`;
    if (!isLive(film)) return { images: await begun(named(video(film, options), name)) };
    const live = camera(film, options);
    return { images: named(live, name), live };
  }
  if (watched) {
    const [folder, ...others] = paths;
    if (folder === undefined || others.length > 0) throw new Error('--watch takes one folder');
    const live = watch(folder, { signal });
    return { images: named(live), live };
  }
  return { images: await begun(files(paths, recursive ?? false, signal)) };
}

/** The same images, the first of them read: a source that cannot be read says so before anybody is called. */
async function begun<T>(images: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = images[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* all() {
    if (first.done) return;
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => iterator };
  })();
}

async function* files(
  paths: readonly string[],
  recursive: boolean,
  signal: AbortSignal,
): AsyncGenerator<Named> {
  for (const path of paths) {
    const images =
      path === '-'
        ? named(piped(process.stdin), (i) => (i === 0 ? '-' : `-#${i + 1}`))
        : named(photos([path], { recursive }));
    for await (const image of images) {
      if (signal.aborted) return;
      yield image;
    }
  }
}

async function* named<T extends ImageInput>(
  images: AsyncIterable<T>,
  name: (index: number, image: T) => string = (_, image) => image as string,
): AsyncGenerator<Named> {
  let index = 0;
  for await (const image of images) yield { name: name(index++, image), image };
}

async function optionsOf(flags: EdgeFlags): Promise<ConnectOptions> {
  const { blocks, rate, policy, deadlineMs, exitThreshold, patience } = flags;
  const bundle = await openBundle(flags.bundle, undefined, {
    onFallback: (damage, { manifest }) =>
      process.stderr.write(`raccoon: ${damage.message}; ${manifest.version} is used in its place\n`),
  });
  const tls = tlsOf(flags);
  const profile = await profileOf(flags, bundle);
  const precision = precisionOf(flags, bundle, profile);
  return {
    cloud: flags.cloud.split(','),
    ...(flags.streams !== undefined && { streams: flags.streams }),
    bundle,
    topK: flags.top,
    ...(tls && { tls }),
    ...(flags.tokenFile !== undefined && { token: await readToken(flags.tokenFile) }),
    ...(blocks !== undefined && { blocks }),
    ...(rate !== undefined && { rate }),
    ...(precision && { precision }),
    ...(policy && { policy }),
    ...(flags.background && { background: true }),
    ...(deadlineMs !== undefined && { deadlineMs }),
    ...(flags.maxBytesPerSecond !== undefined && { bytesPerSecond: flags.maxBytesPerSecond }),
    ...(flags.maxCpuShare !== undefined && { cpuShare: flags.maxCpuShare }),
    ...(exitThreshold !== undefined && { exitThreshold }),
    ...(flags.calibration !== undefined && { calibration: await readCalibration(flags.calibration, bundle) }),
    ...(profile && { profile }),
    ...(patience !== undefined && { reconnect: { patienceMs: 1000 * patience } }),
  };
}

function profileOf({ profile }: EdgeFlags, { manifest }: Bundle): Promise<DeviceProfile | undefined> {
  if (profile === undefined) return findProfile(manifest);
  return read(profile, '--profile').then((json) => parseProfile(json, profile));
}

function precisionOf(
  { precision, blocks }: EdgeFlags,
  { manifest }: Bundle,
  profile: DeviceProfile | undefined,
): Precision | undefined {
  if (precision !== 'auto') return precision;
  if (blocks === 'auto') return undefined; // the policy's choice, for each image
  const choice = choosePrecision(manifest, blocks ?? manifest.points[manifest.defaultPoint]!.n, profile);
  process.stderr.write(`raccoon: ${choice.reason}\n`);
  return choice.precision;
}

async function readCalibration(file: string, { manifest }: Bundle): Promise<ExitCalibration[]> {
  return parseCalibration(await read(file, '--calibration'), file, manifest);
}

async function read(file: string, flag: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`${flag}: cannot read ${file}: is it there, and yours to read?`, { cause });
  });
}

/** @throws Error naming the flag whose file cannot be read */
function tlsOf({ tls, tlsCa, tlsCert, tlsKey, tlsServerName }: EdgeFlags): ConnectOptions['tls'] {
  for (const [flag, file] of Object.entries({
    '--tls-ca': tlsCa,
    '--tls-cert': tlsCert,
    '--tls-key': tlsKey,
  })) {
    if (file !== undefined && !existsSync(file)) throw new Error(`${flag}: there is no file ${file}`);
  }
  const given = {
    ...(tlsCa !== undefined && { ca: tlsCa }),
    ...(tlsCert !== undefined && { cert: tlsCert }),
    ...(tlsKey !== undefined && { key: tlsKey }),
    ...(tlsServerName !== undefined && { serverName: tlsServerName }),
  };
  return Object.keys(given).length > 0 ? given : tls;
}

/** What the policy learned in an earlier run, if there was one. */
async function restore({ policy }: Client, file: string): Promise<void> {
  if (!existsSync(file)) return;
  try {
    policy.restore(JSON.parse(await read(file, '--state')));
  } catch (cause) {
    throw new Error(`--state ${file}: ${(cause as Error).message}`, { cause });
  }
}

/** Complete from the moment that it has its name: the machine may lose power at any time. */
async function save({ policy }: Client, file: string): Promise<void> {
  await writeFile(`${file}.part`, `${JSON.stringify(policy.save())}\n`);
  await rename(`${file}.part`, file);
}

function lines(name: string, outcome: Classification, { explain }: EdgeFlags): string {
  const { top, bytes: size, bpp, encodeMs, roundTripMs, source, degraded, reason } = outcome;
  const first = top[0]!;
  const way =
    source === 'cloud'
      ? `${bytes(size)} (${bpp.toFixed(2)} bpp)  encode ${ms(encodeMs)}, round trip ${ms(roundTripMs)}`
      : `answered here${degraded ? ', degraded' : ''}  encode ${ms(encodeMs)}`;
  const why = explain && reason ? `    ${reason}\n` : '';
  return `${name}  ${first.name} ${percent(first.probability)}  ${way}\n${why}`;
}

function toJson(file: string, classification: Classification): object {
  const { image: _, logits: __, ...rest } = classification;
  return { file, ...rest };
}

/** What became of all images. */
class Tally {
  images = 0;
  answered = 0;
  #local = 0;
  #degraded = 0;
  #bytes = 0;
  readonly #ms: number[] = [];

  add(outcome: Outcome): void {
    this.images++;
    if (isFailure(outcome)) return;
    this.answered++;
    if (outcome.source === 'edge') this.#local++;
    if (outcome.degraded) this.#degraded++;
    this.#bytes += outcome.bytes;
    this.#ms.push(outcome.totalMs);
  }

  line(dropped: number | undefined): string {
    const sorted = this.#ms.toSorted((a, b) => a - b);
    const at = (q: number): string =>
      ms(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0);
    return (
      `${this.images} images: ${this.answered - this.#local} answered by the cloud, ${this.#local} here ` +
      `(${this.#degraded} degraded), ${this.images - this.answered} failed` +
      `${dropped === undefined ? '' : `, ${dropped} dropped`}; ${bytes(this.#bytes)} sent, ` +
      `${at(0.5)} median, ${at(0.95)} p95\n`
    );
  }
}

function orAuto(text: string): number | 'auto' {
  if (text === 'auto') return text;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  throw new InvalidArgumentError('it must be a whole number of at least 0, or auto.');
}

function above0(text: string): number {
  const value = Number(text);
  if (value > 0 && value < Infinity) return value;
  throw new InvalidArgumentError('it must be a number above 0.');
}

function margin(text: string): number {
  const value = Number(text);
  if (text !== '' && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('it must be a number from 0 to 1.');
}
