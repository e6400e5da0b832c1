import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectFailure, expectSuccess, lines, raccoon } from '../helpers/cli.ts';
import { sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';
import { writeResults } from '../helpers/results.ts';

test('raccoon report: a folder of results to a page, Markdown, plots and tables', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'trials/1'), { recursive: true });
  writeResults(join(folder, 'trials/1/results.json'));
  writeFileSync(join(folder, 'trials/state.json'), '{}');
  const ended = await raccoon(
    ['report', 'trials', '--out', 'made/report', '--title', "What we've got"],
    folder,
  );
  expectSuccess(ended);
  const [first, ...files] = lines(ended.stdout);
  expect(first).toBe('21 points; about raccoon n=8, against jpeg effort=1');
  const made = readdirSync(join(folder, 'made/report'));
  expect(new Set(made)).toEqual(new Set(files.map((file) => file.split('/').at(-1))));
  const markdown = readFileSync(join(folder, 'made/report/report.md'), 'utf8');
  expect(markdown).toMatch(/^# What we've got\n/);
  expect(markdown).toMatch(/^- At 0\.5 bpp raccoon n=8 has .* ahead of /m);
  expect(markdown).toContain('raccoon eval --data photos --photos --out a.json\n');
  expect(markdown).toContain(`raccoon report trials --out made/report --title 'What we'\\''ve got'\n`);
  for (const [, png] of markdown.matchAll(/\]\((.*\.png)\)/g)) {
    expect(
      readFileSync(join(folder, 'made/report', png!))
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
  }
}, 120_000);

test('raccoon report --json, with what was asked for alone, and the anchor that was', async () => {
  const folder = temporaryFolder();
  writeResults(join(folder, 'a.json'));
  const args = [
    'report',
    'a.json',
    '--out',
    'out',
    '--formats',
    'md,csv',
    '--anchor',
    'avif effort=4',
    '--subject',
    'raccoon n=4',
    '--json',
  ];
  const ended = await raccoon(args, folder);
  expectSuccess(ended);
  const files = ['report.md', 'rows.csv', 'differences.csv', 'deltas.csv'].map((name) => join('out', name));
  expect(JSON.parse(ended.stdout)).toEqual({
    files,
    subject: 'raccoon n=4',
    anchor: 'avif effort=4',
    points: 21,
  });
});

test('what raccoon eval --out wrote', async () => {
  const folder = temporaryFolder();
  for (const [wnid, name] of [
    ['n01443537', 'goldfish.jpg'],
    ['n01514859', 'hen.jpg'],
  ] as const) {
    mkdirSync(join(folder, 'val', wnid), { recursive: true });
    copyFileSync(sample(name), join(folder, 'val', wnid, name));
  }
  const evaluate = ['eval', '--bundle', shippedBundle, '--data', 'val', '--photos', '--out', 'a.json'];
  const evaluated = await raccoon([...evaluate, '--blocks', '0', '--baseline', 'jpeg:20,60'], folder);
  expectSuccess(evaluated);
  const ended = await raccoon(['report', 'a.json', '--out', 'out', '--bundle', shippedBundle], folder);
  expectSuccess(ended);
  const markdown = readFileSync(join(folder, 'out/report.md'), 'utf8');
  expect(markdown).toMatch(/^\| raccoon n=0 +\| q=5 /m);
  expect(markdown).toMatch(/^\| against jpeg effort=1 /m);
  expect(markdown).toContain('## Bytes');
  expect(existsSync(join(folder, 'out/channels.png'))).toBe(true);
}, 120_000);

test('raccoon report: what is wrong, and what to do', async () => {
  const folder = temporaryFolder();
  const refused = (...args: string[]): ReturnType<typeof raccoon> =>
    raccoon(['report', ...args, '--out', 'out'], folder);
  mkdirSync(join(folder, 'empty'));
  writeResults(join(folder, 'a.json'));
  writeResults(join(folder, 'b.json'), 'others');
  writeFileSync(join(folder, 'c.json'), '{"bpp": [0.1]}');
  expectFailure(await refused('empty'), 'no results in empty: raccoon eval --out');
  expectFailure(await refused('nobody.json'), 'nobody.json does not exist');
  expectFailure(await refused('c.json'), 'c.json is no raccoon-results file');
  expectFailure(await refused('a.json', 'b.json'), /b\.json of 200 photos of others.*make a report of each/);
  expectFailure(await refused('a.json', '--anchor', 'unsplit-edge'), /choose another --anchor/);
  expectFailure(await refused('a.json', '--subject', 'n=4'), /no series n=4; there are raccoon n=0/);
  expectFailure(await refused('a.json', '--published', 'c.json'), /c\.json is no curve/);
  expectFailure(await refused('a.json', '--profile', 'c.json'), /c\.json is no device profile/);
  const other = ['--bundle', shippedBundle];
  expectFailure(await refused('a.json', ...other), /of imagenet1k-mobilenet 0\.0\.0, --bundle is imagenet1k/);
  expectFailure(await refused('a.json', '--formats', 'pdf'), /--formats.*html,md,png,csv,parquet/);
  expect(existsSync(join(folder, 'out'))).toBe(false);
});
