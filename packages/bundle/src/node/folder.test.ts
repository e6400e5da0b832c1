import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { findBundle, listBundles, searchFolders } from './folder.ts';

let home: string;
let cwd: string;
beforeEach(() => {
  home = realpathSync(mkdtempSync(join(tmpdir(), 'raccoon-search-')));
  cwd = join(home, 'project/deep');
  mkdirSync(cwd, { recursive: true });
  vi.stubEnv('XDG_CACHE_HOME', join(home, 'cache'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true });
});

/** Makes a folder that counts as a bundle. */
function make(path: string): string {
  const folder = join(home, path);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'manifest.json'), '{}');
  return folder;
}

test('a name is searched in bundles/ here, in every parent, then in the cache; the nearest wins', () => {
  const cached = make('cache/raccoon/bundles/model');
  expect(findBundle('model', cwd)).toBe(cached);
  const above = make('project/bundles/model');
  expect(findBundle('model', cwd)).toBe(above);
  const here = make('project/deep/bundles/model');
  expect(findBundle('model', cwd)).toBe(here);
  expect(searchFolders(cwd)).toEqual(
    ['project/deep/bundles', 'project/bundles', 'cache/raccoon/bundles'].map((path) => join(home, path)),
  );
});

test('a folder without a manifest is no bundle and hides none', () => {
  mkdirSync(join(cwd, 'bundles/model'), { recursive: true });
  const above = make('project/bundles/model');
  expect(findBundle('model', cwd)).toBe(above);
});

test('what has a slash or starts with a dot is a path, and only that', () => {
  const beside = make('project/deep/model');
  const named = make('project/bundles/model');
  expect(findBundle('./model', cwd)).toBe(beside);
  expect(findBundle('../bundles/model', cwd)).toBe(named);
  expect(findBundle(beside, '/')).toBe(beside);
  expect(findBundle('.', beside)).toBe(beside);
  expect(findBundle('model', cwd)).toBe(named);
  expect(() => findBundle('./other', cwd)).toThrow(join(cwd, 'other'));
  expect(() => findBundle('bundles/model', cwd)).toThrow(expect.objectContaining({ code: 'not-found' }));
});

test('a name that is not there says where it was searched', () => {
  make('project/bundles/model');
  expect(() => findBundle('other', cwd)).toThrow(join(home, 'project/bundles'));
});

test('the list has every name once, in the order of the search', async () => {
  const here = make('project/deep/bundles/b');
  make('project/bundles/b');
  const above = make('project/bundles/a');
  const cached = make('cache/raccoon/bundles/c');
  writeFileSync(join(cwd, 'bundles/README.md'), '');
  expect(await listBundles(cwd)).toEqual([here, above, cached]);
});
