import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import ts from 'typescript';

/** Who may import whom: the table of the design, by folder name. Nothing else is allowed. */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'rans-coder': [],
  codec: ['rans-coder'],
  bundle: ['codec'],
  edge: ['codec', 'bundle'],
  transport: [],
  client: ['edge', 'bundle', 'transport'],
  cloud: ['codec', 'bundle', 'transport'],
  rac: ['client', 'cloud', 'edge', 'codec', 'bundle', 'transport'],
  web: ['client'],
  cli: ['rans-coder', 'codec', 'bundle', 'edge', 'transport', 'client', 'cloud', 'rac', 'web'],
};

/** Arrows of the table that stand in package.json although no line of code uses them yet. */
export const NOT_USED_YET: Readonly<Record<string, readonly string[]>> = {
  cli: ['rans-coder'],
};

/** Root entries that a browser loads as well: neither Node's modules nor native ones. */
export const BROWSER_ENTRIES = ['rans-coder', 'codec', 'bundle', 'edge', 'transport'];

export const SCOPE = '@raccoon/';
export const root: string = resolve(import.meta.dirname, '../..');

export interface PackageJson {
  name: string;
  version: string;
  description?: string;
  license?: string;
  type?: string;
  sideEffects?: boolean;
  engines?: Record<string, string>;
  /** Entries with code have conditions; a plain path is data. */
  exports?: Record<string, Record<string, string> | string>;
  bin?: Record<string, string>;
  files?: string[];
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

export interface SourceFile {
  /** From the root, with `/`: packages/codec/src/header.ts */
  path: string;
  isTest: boolean;
  /** Module specifiers of imports and re-exports, as written. */
  imports: string[];
  ast: ts.SourceFile;
}

export interface Package {
  /** Its folder's name, and its name without the scope. */
  name: string;
  json: PackageJson;
  /** Folder names of the packages that its tsconfig references. */
  references: string[];
  sources: SourceFile[];
}

/** Every TypeScript package of the workspace. */
export const packages: readonly Package[] = readdirSync(join(root, 'packages'))
  .filter((name) => existsSync(join(root, 'packages', name, 'package.json')))
  .map(readPackage);

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(join(root, path), 'utf8')) as T;
}

export interface TsConfig {
  references?: { path: string }[];
}

/** `@raccoon/edge/node` -> `edge`; other people's modules and relative ones are undefined. */
export function ours(specifier: string): string | undefined {
  return specifier.startsWith(SCOPE) ? specifier.slice(SCOPE.length).split('/')[0] : undefined;
}

/** `@grpc/grpc-js/build/x` -> `@grpc/grpc-js`; ours, Node's own and relative ones are undefined. */
export function thirdParty(specifier: string): string | undefined {
  if (/^(\.|node:|@raccoon\/)/.test(specifier)) return undefined;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** Where a relative import leads, from the root. */
export function target(file: SourceFile, specifier: string): string {
  return slashes(relative(root, resolve(root, dirname(file.path), specifier)));
}

/** Arrows of a table or graph as lines, `from -> to`, sorted. */
export function arrows(table: Readonly<Record<string, readonly string[]>>): string[] {
  return Object.entries(table)
    .flatMap(([from, all]) => all.map((to) => `${from} -> ${to}`))
    .toSorted();
}

/** Runs a command in the root and returns its stdout; throws with its stderr. */
export function run(command: string, args: string[], env: Record<string, string> = {}): string {
  return execFileSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function readPackage(name: string): Package {
  const folder = `packages/${name}`;
  const paths = readdirSync(join(root, folder, 'src'), { recursive: true, encoding: 'utf8' });
  return {
    name,
    json: readJson(`${folder}/package.json`),
    references: (readJson<TsConfig>(`${folder}/tsconfig.json`).references ?? []).map(({ path }) =>
      path.replace('../', ''),
    ),
    sources: paths
      .filter((path) => path.endsWith('.ts'))
      .toSorted()
      .map((path) => readSource(`${folder}/src/${slashes(path)}`)),
  };
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  return {
    path,
    isTest: path.endsWith('.test.ts'),
    imports: ts.preProcessFile(text, true, true).importedFiles.map((file) => file.fileName),
    ast: ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true),
  };
}

function slashes(path: string): string {
  return path.replaceAll(sep, '/');
}
