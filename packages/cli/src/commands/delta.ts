import { readFile } from 'node:fs/promises';
import { chooseCurve, delta, deltaIntervals, readCurves, type Curve, type Delta } from '@raccoon/rac';
import { Command } from 'commander';
import { jsonOption } from '../options.ts';
import { table } from '../table.ts';

interface DeltaFlags {
  anchor: string;
  test: string;
  json?: true;
}

export function deltaCommand(): Command {
  return new Command('delta')
    .description(
      'How much more accurate one curve is than another at the same rates: Delta-accuracy, BD-rate.',
    )
    .requiredOption('--anchor <file>', 'the curve to compare with; <file>#<name> where it has several')
    .requiredOption('--test <file>', 'the curve in question')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
A file is {"bpp": [...], "top1": [...]} in bits per pixel and percent (or shares, as in the files of the paper's release), or
{"curves": {<name>: ...}} of such, or what raccoon eval wrote: with --out one curve for each series, called as it is; with --json
one for each n, called n=8, or n=8 int8. With --photos in both there are 95 % intervals, by a bootstrap over the photos.

  meanPoly4      polynomials of degree 4 in ln bpp, mean over bpp
  paper          meanPoly4 divided by the overlap's width: what the code published with the paper prints
  meanLinear     straight lines in bpp, mean over bpp
  meanPchip      monotone cubics in bpp, mean over bpp
  meanLogBpp     monotone cubics in ln bpp, mean over ln bpp
  bdRatePercent  bytes for the same accuracy

Examples:
  raccoon delta --anchor theirs.json --test ours.json
  raccoon delta --anchor curves.json#entropic_student --test curves.json#ours_n4 --json
  raccoon delta --anchor "results.json#webp effort=6" --test "results.json#raccoon n=8"`,
    )
    .action(async (flags: DeltaFlags) => {
      const [anchor, test] = [await readCurve(flags.anchor), await readCurve(flags.test)];
      const found = delta(anchor, test);
      const intervals = deltaIntervals(anchor, test);
      if (flags.json) {
        process.stdout.write(`${JSON.stringify({ ...found, ...(intervals && { intervals }) })}\n`);
        return;
      }
      const { bdRatePercent: _, bdRateDropped, overlap, ...means } = found;
      const row = (key: keyof Delta & keyof NonNullable<typeof intervals>, unit: string): string[] => [
        key,
        found[key] === null ? '-' : `${signed(found[key])}${unit}`,
        ...(intervals ? [intervals[key]?.map(signed).join(' to ') ?? '-'] : []),
      ];
      const keys = Object.keys(means) as (keyof typeof means)[];
      process.stdout.write(
        `${test.name} against ${anchor.name}, ${overlap.map((bpp) => bpp.toFixed(3)).join(' to ')} bpp\n\n` +
          `${table(
            ['', 'points of top-1', ...(intervals ? ['95 % interval'] : [])],
            [...keys.map((key) => row(key, key === 'paper' ? ' / bpp' : '')), row('bdRatePercent', ' %')],
          )}\n`,
      );
      if (bdRateDropped) {
        process.stdout.write(
          '\nBD-rate: points that cost more than another and are no better were left out.\n',
        );
      }
    });
}

const signed = (value: number): string => `${value < 0 ? '' : '+'}${value.toFixed(2)}`;

/** `file` or `file#name`. */
async function readCurve(argument: string): Promise<Curve> {
  const hash = argument.indexOf('#');
  const file = hash < 0 ? argument : argument.slice(0, hash);
  const name = hash < 0 ? undefined : argument.slice(hash + 1);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    const what = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read';
    throw new Error(`${file} ${what}: a curve is {"bpp": [...], "top1": [...]}`, { cause });
  }
  return chooseCurve(readCurves(json, file), file, name);
}
