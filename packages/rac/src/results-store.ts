import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Manifest } from '@raccoon/bundle';
import { thisDevice } from '@raccoon/edge/node';
import type { RowLabel } from './methods.ts';
import type { LabelledPhoto } from './photos.ts';
import { parseResults, type ResultRow, type ResultsFile } from './results.ts';

const { version: raccoon } = createRequire(import.meta.url)('../package.json') as { version: string };

/** What results were measured of; all but the command must be the same for rows to be kept. */
export interface Circumstances {
  command: string;
  manifest: Manifest;
  photos: readonly LabelledPhoto[];
  dataName: string;
  /** Of the sample; null: all photos. */
  seed: number | null;
  threads: number;
}

/** A results file without rows. */
export function emptyResults({
  command,
  manifest,
  photos,
  dataName,
  seed,
  threads,
}: Circumstances): ResultsFile {
  const { cpu, processors } = thisDevice();
  const { name, version, classes, files } = manifest;
  return {
    format: 'raccoon-results',
    version: 1,
    createdAt: new Date().toISOString(),
    command,
    environment: { cpu, cores: processors, threads, node: process.versions.node, raccoon },
    data: {
      name: dataName,
      images: photos.length,
      seed,
      id: idOf(photos.map(({ path, wnid }) => [wnid, path.split(/[\\/]/).at(-1)])),
    },
    bundle: {
      name,
      version,
      classes: classes.length,
      id: idOf(Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    },
    rows: [],
  };
}

/**
 * A results file that grows by a row at a time: whoever reads it, and whoever is killed while writing, has every row that
 * was finished.
 */
export class ResultsStore {
  readonly #path: string;
  readonly #results: ResultsFile;

  /** @throws Error: the file is of something else, or not what it should be */
  constructor(path: string, empty: ResultsFile) {
    this.#path = path;
    this.#results = empty;
    const before = readIfThere(path);
    if (!before) return;
    const different = whatDiffers(before, empty);
    if (different !== undefined) {
      throw new Error(`${path} holds rows of ${different}: give another --out, or remove it`);
    }
    const commands = before.command.split('\n');
    if (!commands.includes(empty.command)) commands.push(empty.command);
    this.#results = { ...before, command: commands.join('\n') };
  }

  get results(): ResultsFile {
    return this.#results;
  }

  /** The row of that name. */
  find(label: RowLabel): ResultRow | undefined {
    return this.#results.rows.find((row) => keyOf(row) === keyOf(label));
  }

  /** Adds a row, or takes it for the one of its name, and writes the file: the old one or the new one, never half of it. */
  put(row: ResultRow): void {
    const { rows } = this.#results;
    const at = rows.findIndex((other) => keyOf(other) === keyOf(row));
    rows.splice(at < 0 ? rows.length : at, at < 0 ? 0 : 1, row);
    const unfinished = `${this.#path}.${process.pid}`;
    writeFileSync(unfinished, `${JSON.stringify(this.#results)}\n`);
    renameSync(unfinished, this.#path);
  }
}

function readIfThere(path: string): ResultsFile | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${path} cannot be read: give another --out`, { cause });
  }
  try {
    return parseResults(JSON.parse(text), path);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new Error(`${path} is not JSON: give another --out, or remove it`, { cause });
  }
}

/** In words; undefined: nothing. */
function whatDiffers(before: ResultsFile, now: ResultsFile): string | undefined {
  const { data, bundle, environment } = before;
  if (bundle.name !== now.bundle.name || bundle.version !== now.bundle.version) {
    return `${bundle.name} ${bundle.version}`;
  }
  if (bundle.id !== now.bundle.id) return `another ${bundle.name} ${bundle.version}`;
  if (data.name !== now.data.name || data.images !== now.data.images || data.seed !== now.data.seed) {
    return `${data.images} photos of ${data.name}${data.seed === null ? '' : ` (seed ${data.seed})`}`;
  }
  if (data.id !== now.data.id) return `other photos called ${data.name}`;
  if (environment.cpu !== now.environment.cpu) return `another machine (${environment.cpu})`;
  if (environment.threads !== now.environment.threads) return `${environment.threads} threads`;
  if (environment.raccoon !== now.environment.raccoon) return `raccoon ${environment.raccoon}`;
  return undefined;
}

function keyOf({ method, series, point, settings }: RowLabel): string {
  return JSON.stringify([
    method,
    series,
    point,
    Object.entries(settings).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  ]);
}

/** 12 hex digits of SHA-256. */
function idOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 12);
}
