import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectFailure, expectSuccess, raccoon } from '../helpers/cli.ts';
import { temporaryFolder } from '../helpers/paths.ts';

test('raccoon delta: a table, JSON, and what is wrong', async () => {
  const folder = temporaryFolder();
  const bpp = [0.1, 0.2, 0.3, 0.5, 0.8];
  const top1 = [50, 58, 61, 64, 66];
  const curves = { a: { bpp, top1 }, b: { bpp, top1: top1.map((value) => value + 2) } };
  writeFileSync(join(folder, 'c.json'), JSON.stringify({ curves }));
  const args = ['delta', '--anchor', 'c.json#a', '--test', 'c.json#b'];
  const shown = await raccoon(args, folder);
  expectSuccess(shown);
  expect(shown.stdout).toMatch(/^c\.json#b against c\.json#a, 0\.100 to 0\.800 bpp\n/);
  expect(shown.stdout).toMatch(/meanPchip +\+2\.00\n/);
  const json = await raccoon([...args, '--json'], folder);
  expect(JSON.parse(json.stdout)).toMatchObject({ meanLinear: expect.closeTo(2), overlap: [0.1, 0.8] });

  const refused = (anchor: string): ReturnType<typeof raccoon> =>
    raccoon(['delta', '--anchor', anchor, '--test', 'c.json#b'], folder);
  expectFailure(await refused('c.json'), /has 2 curves: choose one, c\.json#<name>, of a, b/);
  expectFailure(await refused('none.json'), /none\.json cannot be read/);
});
