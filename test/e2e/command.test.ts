import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseManifest, type OperatingPoint } from '@raccoon/bundle';
import { describe, expect, test } from 'vitest';
import { expectFailure, expectSuccess, lines, raccoon } from '../helpers/cli.ts';
import { sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';

/** The help of a command and of every command under it, two levels at most. */
async function helps(path: string[] = []): Promise<[string, string][]> {
  if (path.length > 2) throw new Error(`${path.join(' ')}: commands go no deeper`);
  const ended = await raccoon([...path, '--help']);
  expectSuccess(ended);
  // the block of commands alone: the examples below it start with "  raccoon", too
  const block = ended.stdout.split('Commands:\n')[1]?.split('\n\n')[0] ?? '';
  const names = [...block.matchAll(/^ {2}([a-z]+)/gm)]
    .map((match) => match[1]!)
    .filter((name) => name !== 'help');
  const all: [string, string][] = [[path.join(' '), ended.stdout]];
  for (const name of names) all.push(...(await helps([...path, name])));
  return all;
}

test('every command has help with examples', async () => {
  const all = await helps();
  const names = all.map(([name]) => name);
  expect(names).toEqual(
    expect.arrayContaining(['', 'demo', 'cloud', 'edge', 'encode', 'decode', 'inspect', 'eval']),
  );
  expect(names).toEqual(expect.arrayContaining(['bundle', 'bundle list', 'bundle verify', 'bundle import']));
  expect(names).toEqual(expect.arrayContaining(['train', 'export']));
  for (const [name, help] of all) {
    expect(help, name).toMatch(new RegExp(`Examples?:\n {2}raccoon ${name}`));
  }
});

test('--version', async () => {
  const ended = await raccoon(['--version']);
  expectSuccess(ended);
  expect(ended.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

describe('a command line that is wrong', () => {
  test.each([
    [['cluod'], /unknown command 'cluod'.*cloud/],
    [['bundle', 'veryfy'], /unknown command 'veryfy'.*verify/],
    [['edge'], /missing required argument 'photos'/],
    [['edge', 'a.jpg', '--colour'], /unknown option '--colour'/],
    [['cloud', '--workers', '0'], /--workers.*at least 1/],
    [['cloud', 'extra'], /too many arguments/],
    [['eval'], /--data/],
    [['eval', '--data', 'x', '--precision', 'int4'], /--precision.*float32, int8/],
    [['eval', '--data', 'x', '--unsplit', '--exit'], /--unsplit.*cannot be used with.*--exit/],
  ])('%j', async (args, why) => {
    expectFailure(await raccoon(args), why);
  });

  test('no command at all shows the help, and is no success', async () => {
    const ended = await raccoon([]);
    expect(ended.code).not.toBe(0);
    expect(ended.stderr).toContain('Examples:');
  });
});

test('demo: photos, labels, bytes, and JPEG beside them', async () => {
  const ended = await raccoon(['demo', sample('hen.jpg'), sample('goldfish.jpg')]);
  expectSuccess(ended);
  expect(ended.stdout).toMatch(/^hen\.jpg .* % +(yes|no) .* B .* ms .* ms$/m);
  expect(ended.stdout).toMatch(/^goldfish\.jpg /m);
  expect(ended.stdout).toMatch(/^2 photos at 224x224/m);
  expect(lines(ended.stdout).filter((line) => /(Raccoon|JPEG).* \d of 2$/.test(line))).toHaveLength(3);
});

test('demo: a photo that is not there ends it, with its cloud', async () => {
  expectFailure(await raccoon(['demo', 'nobody.jpg']), 'nobody.jpg does not exist');
});

/** An ImageFolder of two classes. */
function imageFolder(): string {
  const folder = temporaryFolder();
  for (const [wnid, name] of [
    ['n01443537', 'goldfish.jpg'],
    ['n01514859', 'hen.jpg'],
  ] as const) {
    mkdirSync(join(folder, wnid));
    copyFileSync(sample(name), join(folder, wnid, name));
  }
  return folder;
}

describe('eval', () => {
  test('one point, as JSON and as a table', async () => {
    const args = ['eval', '--data', imageFolder(), '--blocks', '0', '--rate', '0'];
    const json = await raccoon([...args, '--json']);
    expectSuccess(json);
    expect(JSON.parse(json.stdout)).toMatchObject({ points: [{ n: 0, q: 0, images: 2 }] });
    const table = await raccoon(args);
    expectSuccess(table);
    expect(table.stdout).toMatch(/^n=0 q=0 /m);
  });

  test('rows with their photos can be compared, others not', async () => {
    const folder = temporaryFolder();
    const args = ['eval', '--data', imageFolder(), '--rate', '0', '--precision', 'float32', '--json'];
    const write = async (name: string, ...more: string[]): Promise<string> => {
      const { stdout } = await raccoon([...args, ...more]);
      writeFileSync(join(folder, name), stdout);
      return join(folder, name);
    };
    const every = await write('every.json', '--photos', '--blocks', '0,8');
    const deep = await write('deep.json', '--photos', '--blocks', '8');
    const compared = await raccoon(['compare', every, deep]);
    expectSuccess(compared);
    expect(compared.stdout).toMatch(/n=8 q=0 .* n=8 q=0 .* 0\.0 +0\.0 to 0\.0$/m);
    const json = await raccoon(['compare', every, deep, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject([{ test: { n: 8 }, difference: { mean: 0, low: 0 } }]);
    const bare = await write('bare.json', '--blocks', '8');
    expectFailure(await raccoon(['compare', every, bare]), 'bare.json has no rows with photos');
    const other = await write('other.json', '--photos', '--blocks', '8', '--limit', '1');
    expectFailure(await raccoon(['compare', every, other]), 'the same photos');
  }, 120_000);

  test('the first channels alone, recorded in the manifest beside what was there', async () => {
    const bundle = join(temporaryFolder(), 'copy');
    cpSync(shippedBundle, bundle, { recursive: true });
    const file = join(bundle, 'manifest.json');
    const point = (): OperatingPoint => parseManifest(readFileSync(file, 'utf8'), bundle).points[0]!;
    const args = ['eval', '--bundle', bundle, '--data', imageFolder(), '--blocks', '0', '--rate', '0'];
    const shown = await raccoon([...args, '--prefixes', '--record']);
    expectSuccess(shown);
    expect(shown.stdout).toMatch(/^n=0 q=0 +\d+ of \d+ /m);
    const recorded = point().measured!;
    expect(recorded).toMatchObject({ data: 'imagenet20 val', images: 2 });
    expect(recorded.prefixes).toHaveLength(4);
    expect(recorded.prefixes!.at(-1)!.top1).toBe(recorded.top1);
    expectSuccess(await raccoon([...args, '--record']));
    expect(point().measured).toEqual(recorded);
    // other photos: what was measured of the others goes
    expectSuccess(await raccoon([...args, '--record', '--limit', '1']));
    expect(point().measured).toMatchObject({ images: 1 });
    expect(point().measured!.prefixes).toBeUndefined();
  });

  test('says what is wrong', async () => {
    const folder = imageFolder();
    const wrong = (...args: string[]): ReturnType<typeof raccoon> =>
      raccoon(['eval', '--data', folder, ...args]);
    expectFailure(await wrong('--blocks', '99'), 'no such point');
    expectFailure(await wrong('--blocks', '0', '--rate', '0', '--precision', 'int8'), 'no such point');
    expectFailure(await raccoon(['eval', '--data', join(folder, 'nowhere')]), 'nowhere is not a folder');
    const broken = join(folder, 'n01514859', 'z.jpg');
    writeFileSync(broken, 'dear diary');
    expectFailure(await wrong('--blocks', '0', '--rate', '0'), broken);
    mkdirSync(join(folder, 'birds'));
    copyFileSync(sample('hen.jpg'), join(folder, 'birds', 'hen.jpg'));
    expectFailure(await wrong('--blocks', '0', '--rate', '0'), 'no class birds');
  });
});
