import { readFile } from 'node:fs/promises';
import { pointName } from '@raccoon/bundle';
import {
  isClean,
  pairedDifference,
  parseResults,
  partnerOf,
  type ComparedRow,
  type Difference,
  type ResultRow,
} from '@raccoon/rac';
import { Command } from 'commander';
import { jsonOption } from '../options.ts';
import { table } from '../table.ts';

interface Comparison {
  anchor: ComparedRow;
  test: ComparedRow;
  difference: Difference;
}

export function compareCommand(): Command {
  return new Command('compare')
    .description('What one bundle is better or worse by than another, point by point on the same photos.')
    .argument('<anchor>', 'what `raccoon eval --photos` wrote, with --out or --json')
    .argument('<tests...>', 'the same of what is compared with it')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Every row of <tests> is compared with that row of <anchor> which has as many blocks and the nearest rate, in the same
precision if there is one. Differences are in points of top-1, with the 95 % interval of a paired bootstrap over the
photos: both must have been measured on the same ones (the same --data, --limit and --seed). Rows of baselines have no blocks, and are left out: raccoon report compares all of them.

Examples:
  raccoon compare mine.json yours.json, after
  raccoon eval --bundle mine --data imagenet20/val --limit 1000 --photos --out mine.json
  raccoon eval --bundle yours --data imagenet20/val --limit 1000 --photos --out yours.json`,
    )
    .action(async (anchorFile: string, testFiles: string[], { json }: { json?: true }) => {
      const anchors = await readRows(anchorFile);
      const comparisons: Comparison[] = [];
      for (const file of testFiles) {
        for (const test of await readRows(file)) {
          const anchor = partnerOf(test, anchors);
          comparisons.push({ anchor, test, difference: pairedDifference(anchor.photos, test.photos) });
        }
      }
      if (json) {
        process.stdout.write(`${JSON.stringify(comparisons, withoutPhotos)}\n`);
        return;
      }
      process.stdout.write(`${comparisonTable(comparisons)}\n`);
    });
}

const withoutPhotos = (key: string, value: unknown): unknown => (key === 'photos' ? undefined : value);

async function readRows(file: string): Promise<ComparedRow[]> {
  let json: { format?: string; points?: ComparedRow[] } | null;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    const what = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read';
    throw new Error(`${file} ${what}: write it with raccoon eval --photos --out`, { cause });
  }
  const rows =
    json?.format === 'raccoon-results'
      ? parseResults(json, file).rows.filter(isClean).flatMap(ofPoint)
      : json?.points;
  if (!rows?.length || !rows.every((row) => Array.isArray(row.photos))) {
    throw new Error(`${file} has no rows with photos: write it with raccoon eval --photos --out`);
  }
  return rows;
}

/** Nothing for a baseline. */
function ofPoint({ settings, photos, ...row }: ResultRow): ComparedRow[] {
  const { n, q, precision } = settings;
  if (typeof n !== 'number' || typeof q !== 'number') return [];
  // without photos it is refused
  return [{ n, q, precision: precision === 'int8' ? 'int8' : 'float32', ...row, photos: photos! }];
}

function comparisonTable(comparisons: readonly Comparison[]): string {
  return table(
    ['anchor', 'bpp', 'top-1 %', 'test', 'bpp', 'top-1 %', 'difference', '95 % interval'],
    comparisons.map(({ anchor, test, difference: { mean, low, high } }) => [
      ...cells(anchor),
      ...cells(test),
      signed(mean),
      `${signed(low)} to ${signed(high)}`,
    ]),
  );
}

const cells = (row: ComparedRow): string[] => [
  pointName(row),
  row.payloadBpp.toFixed(3),
  row.top1.toFixed(1),
];
const signed = (value: number): string => `${value > 0 ? '+' : ''}${value.toFixed(1)}`;
