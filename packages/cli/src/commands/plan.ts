import { readFile } from 'node:fs/promises';
import { pointName, type Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import {
  explainViolations,
  fastestRow,
  parseProfile,
  planPoint,
  type DeviceProfile,
  type PlanCandidate,
  type PlanLimits,
} from '@raccoon/edge';
import { findProfile } from '@raccoon/edge/node';
import { countParameters } from '@raccoon/rac';
import { Command, InvalidArgumentError, Option } from 'commander';
import { bundleOption, jsonOption } from '../options.ts';
import { bytes, mmac, ms, table } from '../table.ts';

interface PlanFlags extends PlanLimits {
  bundle: string;
  profile?: string;
  json?: true;
}

export function planCommand(): Command {
  return new Command('plan')
    .description('The best operating point under limits: the highest accuracy that was measured within them.')
    .addOption(limit('--max-ms <ms>', 'from photo to bytes on this device, median'))
    .addOption(limit('--max-bytes <bytes>', 'of bitstream for a photo, mean'))
    .addOption(limit('--max-params <count>', 'parameters of the encoder'))
    .addOption(limit('--max-macs <count>', 'multiply-accumulates of the encoder'))
    .addOption(limit('--min-accuracy <percent>', 'top-1'))
    .addOption(bundleOption())
    .option('-p, --profile <file>', 'what `raccoon bench` wrote; default: the one of this device')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Accuracy and bytes are the manifest's (raccoon eval --record), times those of the device's profile (raccoon bench), with
the number of threads that was fastest. Where no point is within the limits, the nearest is named with the limits
that it breaks, and the exit code is 1.

Examples:
  raccoon plan --max-ms 10 --max-bytes 1200
  raccoon plan --min-accuracy 65 --max-macs 100e6
  raccoon plan --max-ms 20 --profile raspberry.json --json`,
    )
    .action(plan);
}

function limit(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < 0) {
      throw new InvalidArgumentError('it must be a number of at least 0.');
    }
    return value;
  });
}

async function plan({ bundle: name, profile: file, json, ...limits }: PlanFlags): Promise<void> {
  const bundle = await openBundle(name);
  const profile = await readProfile(bundle, file);
  if (limits.maxMs !== undefined && !profile) {
    throw new Error('--max-ms needs times of this device: run raccoon bench first, or give --profile');
  }
  const candidates = await candidatesOf(bundle, profile);
  if (candidates.length === 0) {
    throw new Error(`no point of ${bundle.manifest.name} was measured: raccoon eval --record does`);
  }
  const result = planPoint(candidates, limits);
  if (!result.feasible) process.exitCode = 1;
  if (json) {
    process.stdout.write(`${JSON.stringify({ bundle: bundle.manifest.name, limits, ...result })}\n`);
    return;
  }
  if (result.feasible) {
    process.stdout.write(`${pointTable(result.best)}\n`);
    return;
  }
  process.stderr.write(`raccoon: ${explainViolations(result)}\n`);
  process.stdout.write(`${pointTable(result.nearest)}\n`);
}

async function readProfile(
  { manifest }: Bundle,
  file: string | undefined,
): Promise<DeviceProfile | undefined> {
  if (file === undefined) return findProfile(manifest);
  const json = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`${file} cannot be read: raccoon bench --out writes a profile`, { cause });
  });
  const profile = parseProfile(json, file);
  const { name, version } = profile.bundle;
  if (name !== manifest.name || version !== manifest.version) {
    throw new Error(
      `${file} is a profile of ${name} ${version}, not of ${manifest.name} ${manifest.version}: run raccoon bench again`,
    );
  }
  return profile;
}

/** The points whose accuracy was measured; of encoders that the profile has not, without a time. */
async function candidatesOf(bundle: Bundle, profile: DeviceProfile | undefined): Promise<PlanCandidate[]> {
  const { manifest } = bundle;
  const pixels = manifest.input.width * manifest.input.height;
  const params = new Map<string, number>();
  for (const { encoder } of manifest.points) {
    if (!params.has(encoder)) params.set(encoder, countParameters(await bundle.read(encoder)));
  }
  return manifest.points.flatMap(({ n, q, precision = 'float32', encoder, edgeMacs, measured }, point) => {
    if (!measured) return [];
    const row = profile && fastestRow(profile, n, precision);
    return {
      point,
      n,
      q,
      precision,
      top1: measured.top1,
      ...(row && { ms: row.totalMs.p50 }),
      bytes: (measured.payloadBpp * pixels) / 8,
      params: params.get(encoder)!,
      macs: edgeMacs,
    };
  });
}

function pointTable(candidate: PlanCandidate): string {
  return table(
    ['point', 'top-1 %', 'time', 'bytes', 'parameters', 'MAC'],
    [
      [
        pointName(candidate),
        candidate.top1.toFixed(1),
        candidate.ms === undefined ? '-' : ms(candidate.ms),
        bytes(candidate.bytes),
        candidate.params.toLocaleString('en'),
        mmac(candidate.macs),
      ],
    ],
  );
}
