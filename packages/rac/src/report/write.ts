import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle } from '@raccoon/bundle';
import { parseProfile } from '@raccoon/edge';
import sharp from 'sharp';
import { plotSvg } from '../plot.ts';
import { analyse, type ReportInput } from './analysis.ts';
import { collectResults } from './collect.ts';
import {
  deltaColumns,
  differenceColumns,
  flatPhotos,
  flatRows,
  photoColumns,
  rowColumns,
} from './columns.ts';
import { csv } from './csv.ts';
import { markdown } from './markdown.ts';
import { page } from './page.ts';
import { parquet } from './parquet.ts';
import { readPublished } from './published.ts';
import { report } from './report.ts';

export const REPORT_FORMATS = ['html', 'md', 'png', 'csv', 'parquet'] as const;
export type ReportFormat = (typeof REPORT_FORMATS)[number];

export interface ReportOptions extends Pick<ReportInput, 'subject' | 'anchor' | 'title' | 'command'> {
  /** Results files, or folders of them. */
  results: readonly string[];
  /** The folder to write into; made where it is missing. */
  out: string;
  /** Device profiles of `raccoon bench`. */
  profiles?: readonly string[];
  /** A file of published curves. */
  published?: string;
  bundle?: Bundle;
  /** Default: no. */
  acrossBundles?: boolean;
  /** Default: all. */
  formats?: readonly ReportFormat[];
}

export interface WrittenReport {
  /** Paths, in the order of writing. */
  files: string[];
  /** The series that it is about. */
  subject: string;
  anchor: string | null;
  points: number;
}

/** Pixels of a PNG for one of the figure's. */
const PNG_SCALE = 2;

/**
 * Reads results and writes what they say: `report.html` (one file, nothing else needed), `report.md` with a PNG for each
 * figure, `rows`, `differences` and `deltas` as CSV, `rows` and `photos` as Parquet.
 * @throws Error about an input that cannot be read or compared
 */
export async function writeReport({
  results,
  out,
  profiles = [],
  published,
  acrossBundles = false,
  formats = REPORT_FORMATS,
  ...options
}: ReportOptions): Promise<WrittenReport> {
  const files = await collectResults(results, { acrossBundles });
  const { name, version } = files[0]!.results.bundle;
  const measured = `${name} ${version}`;
  const given = options.bundle && `${options.bundle.manifest.name} ${options.bundle.manifest.version}`;
  if (given !== undefined && given !== measured) {
    throw new Error(`the results are of ${measured}, --bundle is ${given}: give the one that was measured`);
  }
  const devices = await Promise.all(profiles.map((path) => readProfile(path, measured)));
  const analysis = analyse({
    ...options,
    files,
    profiles: devices,
    ...(published !== undefined && { published: readPublished(await readJson(published), published) }),
  });
  const document = report(analysis);
  const svgs = new Map<string, string>();
  for (const { name: figure, plot } of document.sections.flatMap(({ figures = [] }) => figures)) {
    svgs.set(figure, await plotSvg(plot));
  }
  const rows = flatRows(files);

  const written: [string, string | Uint8Array][] = [];
  if (formats.includes('html')) written.push(['report.html', page(document, svgs)]);
  if (formats.includes('md')) written.push(['report.md', markdown(document)]);
  if (formats.includes('png')) {
    for (const [figure, svg] of svgs) {
      written.push([`${figure}.png`, await png(svg)]);
    }
  }
  if (formats.includes('csv')) {
    const deltas = [...analysis.subjectDeltas, ...analysis.anchorDeltas];
    const once = deltas.filter(
      (one, i) =>
        deltas.findIndex((first) => first.subject === one.subject && first.other === one.other) === i,
    );
    written.push(['rows.csv', csv(rowColumns, rows)]);
    written.push(['differences.csv', csv(differenceColumns, analysis.differences)]);
    written.push(['deltas.csv', csv(deltaColumns, once)]);
  }
  if (formats.includes('parquet')) {
    written.push(['rows.parquet', await parquet(rowColumns, rows)]);
    const photos = flatPhotos(rows);
    if (photos.length > 0) written.push(['photos.parquet', await parquet(photoColumns, photos)]);
  }
  await mkdir(out, { recursive: true });
  for (const [file, contents] of written) await writeFile(join(out, file), contents);
  return {
    files: written.map(([file]) => join(out, file)),
    subject: analysis.subject.name,
    anchor: analysis.anchor?.name ?? null,
    points: analysis.series.reduce((sum, { points }) => sum + points.length, 0),
  };
}

/** @throws Error if it is of another bundle: its times are of other encoders */
async function readProfile(path: string, wanted: string): Promise<ReturnType<typeof parseProfile>> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new Error(`${path} cannot be read: raccoon bench --out <file> writes a device profile`, { cause });
  });
  const profile = parseProfile(text, path);
  const { name, version } = profile.bundle;
  if (`${name} ${version}` === wanted) return profile;
  throw new Error(
    `${path} is of ${name} ${version}, the results are of ${wanted}: run raccoon bench --bundle with that one`,
  );
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const what = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read';
    throw new Error(`${path} ${what}: published curves are {"curves": {<name>: {"bpp", "top1"}}}`, {
      cause,
    });
  }
}

/** On white: a PNG has one colour of text. */
async function png(svg: string): Promise<Uint8Array> {
  return sharp(Buffer.from(svg), { density: 72 * PNG_SCALE })
    .flatten({ background: '#fff' })
    .png({ palette: true, compressionLevel: 9 })
    .toBuffer();
}
