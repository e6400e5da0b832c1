import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  BROWSER_ENTRIES,
  MAY_IMPORT,
  NOT_USED_YET,
  SCOPE,
  arrows,
  ours,
  packages,
  readJson,
  root,
  run,
  target,
  thirdParty,
  type Package,
  type SourceFile,
  type TsConfig,
} from './workspace.ts';

/** `file: specifier` of every import that `wrong` finds fault with. */
function offences(of: Package, wrong: (specifier: string, file: SourceFile) => boolean): string[] {
  return of.sources.flatMap((file) =>
    file.imports
      .filter((specifier) => wrong(specifier, file))
      .map((specifier) => `${file.path}: ${specifier}`),
  );
}

function declared(of: Package): string[] {
  return Object.keys({ ...of.json.dependencies, ...of.json.peerDependencies });
}

/** An entry of ours that its package does not export. */
function isMissing(specifier: string): boolean {
  const to = packages.find(({ name }) => name === ours(specifier));
  return to !== undefined && !(specifier.replace(SCOPE + to.name, '.') in (to.json.exports ?? {}));
}

const COMMON = 'packages/edge/src/common/';

/** Something that only Node or only a browser has, in a file that both run. */
function isPlatform(specifier: string, file: SourceFile): boolean {
  if (!file.path.startsWith(COMMON) || file.isTest) return false;
  if (specifier.startsWith('.')) return !target(file, specifier).startsWith(COMMON);
  return /^(node:|sharp|onnxruntime)/.test(specifier) || specifier.endsWith('/node');
}

function entry(name: string): string {
  return `packages/${name}/src/index.ts`;
}

test('the table names every package', () => {
  expect(packages.map(({ name }) => name).toSorted()).toEqual(Object.keys(MAY_IMPORT).toSorted());
});

test('the table has no cycle, and edge and cloud do not reach each other', () => {
  const reachable = (from: string, path: string[] = []): string[] => {
    expect(path, `a cycle: ${[...path, from].join(' -> ')}`).not.toContain(from);
    return MAY_IMPORT[from]!.flatMap((to) => [to, ...reachable(to, [...path, from])]);
  };
  for (const name of Object.keys(MAY_IMPORT)) reachable(name);
  expect(reachable('edge')).not.toContain('cloud');
  expect(reachable('cloud')).not.toContain('edge');
});

describe.each([...packages])('$name', (of) => {
  const code = of.sources.filter((file) => !file.isTest).flatMap((file) => file.imports);

  test('imports only what the table allows, and never itself', () => {
    const allowed = MAY_IMPORT[of.name]!;
    const forbidden = (specifier: string): boolean => {
      const to = ours(specifier);
      return to !== undefined && !allowed.includes(to);
    };
    expect(offences(of, forbidden)).toEqual([]);
  });

  test('imports only entries that the other package exports', () => {
    expect(offences(of, isMissing)).toEqual([]);
  });

  test('never leaves its folder by a relative path', () => {
    const outside = (specifier: string, file: SourceFile): boolean =>
      specifier.startsWith('.') && !target(file, specifier).startsWith(`packages/${of.name}/`);
    expect(offences(of, outside)).toEqual([]);
  });

  test('its package.json lists what its code imports, and nothing else', () => {
    const used = code
      .map((specifier) => (ours(specifier) ? SCOPE + ours(specifier) : thirdParty(specifier)))
      .filter((name) => name !== undefined);
    const ahead = (NOT_USED_YET[of.name] ?? []).map((name) => SCOPE + name);
    const stale = ahead.filter((name) => used.includes(name));
    expect(stale, 'used by now: take it off NOT_USED_YET').toEqual([]);
    expect([...new Set([...used, ...ahead])].toSorted()).toEqual(declared(of).toSorted());
  });

  test('its tsconfig references its @raccoon dependencies', () => {
    const dependencies = declared(of).map(ours);
    expect(of.references.toSorted()).toEqual(dependencies.filter((name) => name !== undefined).toSorted());
  });
});

test('the root tsconfig references every package', () => {
  const { references = [] } = readJson<TsConfig>('tsconfig.json');
  expect(references.map(({ path }) => path).toSorted()).toEqual(
    packages.map(({ name }) => `packages/${name}`),
  );
});

test('edge: src/common knows no platform', () => {
  const edge = packages.find(({ name }) => name === 'edge')!;
  expect(offences(edge, isPlatform)).toEqual([]);
});

test.each(BROWSER_ENTRIES)('%s: what its root entry loads runs in a browser', (name) => {
  const files = new Map(packages.flatMap(({ sources }) => sources.map((file) => [file.path, file])));
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    const file = files.get(path);
    if (!file) throw new Error(`${path} is imported and does not exist`);
    for (const specifier of file.imports) {
      expect(specifier, path).not.toMatch(/^(node:|sharp|onnxruntime-node|@grpc\/)/);
      const to = ours(specifier);
      if (to) visit(entry(to));
      else if (specifier.startsWith('.')) visit(target(file, specifier));
    }
  };
  visit(entry(name));
  expect(seen).toContain(entry(name));
});

test("nx sees exactly the table's arrows", () => {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-nx-'));
  try {
    const file = join(folder, 'graph.json');
    run(process.execPath, [join(root, 'node_modules/.bin/nx'), 'graph', `--file=${file}`], {
      NX_DAEMON: 'false',
    });
    const { graph } = JSON.parse(readFileSync(file, 'utf8')) as {
      graph: { dependencies: Record<string, { source: string; target: string }[]> };
    };
    const seen = Object.fromEntries(
      Object.entries(graph.dependencies)
        .filter(([project]) => ours(project))
        .map(([project, edges]) => [
          ours(project)!,
          edges.map((edge) => ours(edge.target)).filter((name) => name !== undefined),
        ]),
    );
    expect(arrows(seen)).toEqual(arrows(MAY_IMPORT));
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 300_000); // a limit for a hung process; it takes two seconds
