import type { PhotoOutcome } from '../evaluate.ts';
import type { ResultRow } from '../results.ts';
import type { Interval } from './bands.ts';
import type { CollectedFile } from './collect.ts';
import type { CurveDifference, RateDifference } from './versus.ts';

/** A column of a table for programs. Names say the unit where it is none of the project's: percent, bpp, ms, bytes. */
export interface Column<T> {
  name: string;
  type: 'text' | 'number' | 'whole' | 'flag';
  of: (item: T) => string | number | boolean | null;
}

/** A measured row and its file. `row` counts through all files, and is what photos refer to. */
export interface FlatRow extends CollectedFile {
  index: number;
  row: ResultRow;
}

export interface FlatPhoto {
  row: number;
  photo: PhotoOutcome;
}

export const rowColumns: readonly Column<FlatRow>[] = [
  whole('row', ({ index }) => index),
  text('file', ({ path }) => path),
  text('createdAt', ({ results }) => results.createdAt),
  text('bundle', ({ results }) => results.bundle.name),
  text('bundleVersion', ({ results }) => results.bundle.version),
  whole('classes', ({ results }) => results.bundle.classes),
  text('data', ({ results }) => results.data.name),
  whole('dataSeed', ({ results }) => results.data.seed),
  text('method', ({ row }) => row.method),
  text('series', ({ row }) => row.series),
  text('point', ({ row }) => row.point),
  text('settings', ({ row }) => JSON.stringify(row.settings)),
  whole('images', ({ row }) => row.images),
  number('top1', ({ row }) => row.top1),
  number('top5', ({ row }) => row.top5),
  number('exitTop1', ({ row }) => row.exitTop1 ?? null),
  number('payloadBpp', ({ row }) => row.payloadBpp),
  number('wireBpp', ({ row }) => row.wireBpp),
  number('bytesPerImage', ({ row }) => row.bytesPerImage),
  number('encodeMsP50', ({ row }) => row.encodeMs?.p50 ?? null),
  number('encodeMsP95', ({ row }) => row.encodeMs?.p95 ?? null),
  number('entropyMs', ({ row }) => row.entropyMs),
  number('cloudMs', ({ row }) => row.cloudMs),
  whole('edgeMacs', ({ row }) => row.edgeMacs),
  whole('edgeParameters', ({ row }) => row.edgeParameters),
  number('peakMemoryMiB', ({ row }) => row.peakMemoryMiB),
  number('energyMillijoule', ({ row }) => row.energyMillijoule?.value ?? null),
  text('energySource', ({ row }) => row.energyMillijoule?.source ?? null),
  text('cpu', ({ results }) => results.environment.cpu),
  whole('cores', ({ results }) => results.environment.cores),
  whole('threads', ({ results }) => results.environment.threads),
  text('node', ({ results }) => results.environment.node),
  text('raccoon', ({ results }) => results.environment.raccoon),
  // one line, and what a shell takes: a row of a CSV file is a line to most programs
  text('command', ({ results }) => results.command.replaceAll('\n', ' && ')),
];

export const photoColumns: readonly Column<FlatPhoto>[] = [
  whole('row', ({ row }) => row),
  text('photo', ({ photo }) => photo.photo),
  { name: 'right', type: 'flag', of: ({ photo }) => photo.right },
  whole('bytes', ({ photo }) => photo.bytes),
];

export const differenceColumns: readonly Column<RateDifference>[] = [
  number('rateBpp', ({ rate }) => rate),
  text('subject', ({ subject }) => subject),
  text('other', ({ other }) => other),
  number('subjectTop1', ({ subjectAt }) => subjectAt?.top1 ?? null),
  number('subjectBpp', ({ subjectAt }) => subjectAt?.bpp ?? null),
  number('otherTop1', ({ otherAt }) => otherAt?.top1 ?? null),
  number('otherBpp', ({ otherAt }) => otherAt?.bpp ?? null),
  number('difference', ({ difference }) => difference?.mean ?? null),
  number('low', ({ difference }) => difference?.low ?? null),
  number('high', ({ difference }) => difference?.high ?? null),
  { name: 'paired', type: 'flag', of: ({ paired }) => paired },
];

export const deltaColumns: readonly Column<CurveDifference>[] = [
  text('subject', ({ subject }) => subject),
  text('other', ({ other }) => other),
  number('overlapLowBpp', ({ delta }) => delta.overlap[0]),
  number('overlapHighBpp', ({ delta }) => delta.overlap[1]),
  ...(['meanPchip', 'meanLogBpp', 'bdRatePercent'] as const).flatMap((key) => [
    number<CurveDifference>(key, ({ delta }) => delta[key]),
    ...(['low', 'high'] as const).map((end: keyof Interval) =>
      number<CurveDifference>(
        `${key}${end === 'low' ? 'Low' : 'High'}`,
        ({ intervals }) => intervals[key]?.[end] ?? null,
      ),
    ),
  ]),
  { name: 'bdRateDropped', type: 'flag', of: ({ delta }) => delta.bdRateDropped },
];

/** Every row as it was measured, seeds apart. */
export function flatRows(files: readonly CollectedFile[]): FlatRow[] {
  return files
    .flatMap((file) => file.results.rows.map((row) => ({ ...file, row })))
    .map((row, index) => ({ ...row, index }));
}

export function flatPhotos(rows: readonly FlatRow[]): FlatPhoto[] {
  return rows.flatMap(({ index, row }) => (row.photos ?? []).map((photo) => ({ row: index, photo })));
}

function text<T>(name: string, of: (item: T) => string | null): Column<T> {
  return { name, type: 'text', of };
}

function number<T>(name: string, of: (item: T) => number | null): Column<T> {
  return { name, type: 'number', of };
}

function whole<T>(name: string, of: (item: T) => number | null): Column<T> {
  return { name, type: 'whole', of };
}
