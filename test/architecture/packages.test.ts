import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packages, readJson, root, SCOPE, type PackageJson } from './workspace.ts';

const rootJson = readJson<PackageJson>('package.json');
const EXACT = /^\d+\.\d+\.\d+$/;

describe.each([...packages])('$name', ({ name, json }) => {
  test('says what it is, under the one version of the workspace', () => {
    expect(json).toMatchObject({
      name: SCOPE + name,
      version: rootJson.version,
      description: expect.stringMatching(/\w+/),
      license: rootJson.license,
      type: 'module',
      engines: rootJson.engines,
    });
    expect(json.description).not.toMatch(/\.$/);
  });

  test('brings the licence: npm packs it, from the folder of the package alone', () => {
    const own = readFileSync(join(root, 'packages', name, 'LICENSE'), 'utf8');
    expect(own).toBe(readFileSync(join(root, 'LICENSE'), 'utf8'));
  });

  test('depends on exact versions', () => {
    for (const [dependency, version] of Object.entries(json.dependencies ?? {})) {
      if (dependency.startsWith(SCOPE)) expect(version, dependency).toBe(rootJson.version);
      else expect(version, dependency).toMatch(EXACT);
    }
  });

  test('packs code, declarations and sources, and data that it exports; no tests, no build state', () => {
    const data = Object.values(json.exports ?? {}).filter((entry) => typeof entry === 'string');
    expect(json.files).toEqual([
      ...(json.bin ? ['bin'] : []),
      'dist',
      'src',
      ...data.map((path) => path.replace('./', '')),
      '!dist/.tsbuildinfo',
      '!**/*.test.*',
    ]);
  });
});

describe.each(packages.filter(({ json }) => !json.bin))('$name, a library', ({ name, json }) => {
  test('can be shaken off: no side effects', () => {
    expect(json.sideEffects).toBe(false);
  });

  test('exports types and code of every entry, and its source in this workspace', () => {
    expect(json.exports).toHaveProperty(['.']);
    for (const [entry, conditions] of Object.entries(json.exports ?? {})) {
      if (typeof conditions === 'string') continue; // data
      const code = conditions['default']!;
      const source = code.replace('/dist/', '/src/').replace(/\.js$/, '.ts');
      expect(code, entry).toMatch(/^\.\/dist\/.+\.js$/);
      expect(conditions['types'], entry).toBe(code.replace(/\.js$/, '.d.ts'));
      expect(existsSync(join(root, 'packages', name, source)), source).toBe(true);
      // a worker thread is always the compiled file; everything else has its source
      expect(conditions['@raccoon/source'], entry).toBe(entry === './worker' ? undefined : source);
      // the first condition that holds is taken
      expect(Object.keys(conditions).at(-1), entry).toBe('default');
    }
  });
});

test('the tools have exact versions; only type declarations float', () => {
  for (const json of [rootJson, ...packages.map((of) => of.json)]) {
    for (const [dependency, version] of Object.entries(json.devDependencies ?? {})) {
      if (!dependency.startsWith('@types/')) expect(version, dependency).toMatch(EXACT);
    }
  }
});

test('a library that several packages use has one version', () => {
  const versions = new Map<string, string>();
  for (const { json } of packages) {
    for (const [dependency, version] of Object.entries(json.dependencies ?? {})) {
      expect(versions.get(dependency) ?? version, dependency).toBe(version);
      versions.set(dependency, version);
    }
  }
});
