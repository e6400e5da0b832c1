import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { crc32c } from '@raccoon/rans-coder';
import { expectFailure, expectSuccess, lines, raccoon } from '../helpers/cli.ts';
import { sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';

// Commands that work on files: .rac and bundles.

/** A `.rac` file of the hen in a folder of its own. */
async function encodeHen(...args: string[]): Promise<{ folder: string; file: string; bytes: Buffer }> {
  const folder = temporaryFolder();
  const ended = await raccoon(['encode', sample('hen.jpg'), '--bundle', shippedBundle, ...args], folder);
  expectSuccess(ended);
  const file = join(folder, 'hen.rac');
  return { folder, file, bytes: readFileSync(file) };
}

const inspect = (file: string): ReturnType<typeof raccoon> => raccoon(['inspect', file]);
const decode = (file: string): ReturnType<typeof raccoon> => raccoon(['decode', file]);

test('encode, inspect, decode', async () => {
  const { file, bytes } = await encodeHen('--blocks', '0', '--rate', '1');
  const inspected = await raccoon(['inspect', file, '--json']);
  expectSuccess(inspected);
  const seen = JSON.parse(inspected.stdout) as { bytes: number; bitsPerChannel: number[] };
  expect(seen).toMatchObject({ file, n: 0, q: 1, sliceCount: 1, bytes: bytes.length - 8 });
  const bits = seen.bitsPerChannel.reduce((sum, value) => sum + value, 0);
  expect(bits).toBeLessThan(8 * seen.bytes);
  const shown = await inspect(file);
  expectSuccess(shown);
  expect(shown.stdout).toContain('n=0 q=1');

  const decoded = await raccoon(['decode', file, '--top', '3', '--json']);
  expectSuccess(decoded);
  const { top } = JSON.parse(decoded.stdout) as { top: { name: string; probability: number }[] };
  expect(top).toHaveLength(3);
  const printed = await decode(file);
  expectSuccess(printed);
  expect(lines(printed.stdout)).toHaveLength(5);
  expect(lines(printed.stdout)[0]).toMatch(new RegExp(`^ *[\\d.]+ % {2}${top[0]!.name}$`));
});

test('encode says what is wrong', async () => {
  const folder = temporaryFolder();
  const encode = (...args: string[]): ReturnType<typeof raccoon> =>
    raccoon(['encode', '--bundle', shippedBundle, ...args], folder);
  expectFailure(await encode('nobody.jpg'), 'nobody.jpg does not exist');
  expectFailure(await encode(sample('hen.jpg'), '-n', '99'), 'no point n=99');
  expectFailure(await encode(sample('hen.jpg'), '-n', 'two'), 'whole number');
  expectFailure(await encode(sample('hen.jpg'), '-o', 'no/such/folder/hen.rac'), 'no/such/folder/hen.rac');
});

describe('a .rac file that is none', () => {
  test('damaged: cut, a bit flipped, another codec, text, empty, not there', async () => {
    const { folder, bytes } = await encodeHen();
    const write = (name: string, content: string | Uint8Array): string => {
      const file = join(folder, name);
      writeFileSync(file, content);
      return file;
    };
    const flipped = Buffer.from(bytes);
    flipped[100]! ^= 1;
    const wrong: [string, RegExp][] = [
      [write('cut.rac', bytes.subarray(0, 300)), /cut\.rac: .*beyond the end/],
      [write('flipped.rac', flipped), /flipped\.rac: .*checksum/],
      [write('stranger.rac', withCodecId(bytes, 'feedfacecafe')), /stranger\.rac: .*feedfacecafe/],
      [write('text.rac', 'dear diary'), /text\.rac: not a \.rac file/],
      [write('empty.rac', ''), /empty\.rac: not a \.rac file/],
      [write('header.rac', bytes.subarray(0, 4)), /header\.rac: .*no slices/],
      [join(folder, 'nobody.rac'), /nobody\.rac/],
    ];
    for (const [file, why] of wrong) {
      expectFailure(await inspect(file), why);
      expectFailure(await decode(file), why);
    }
  });
});

/** A `.rac` file of one slice under another codec id, with a checksum that is right. */
function withCodecId(rac: Uint8Array, id: string): Buffer {
  const file = Buffer.from(rac);
  const slice = file.subarray(8); // after magic and length
  slice.write(id, 1, 'hex');
  slice.writeUInt32LE(crc32c(slice.subarray(16), crc32c(slice.subarray(0, 12))), 12);
  return file;
}

describe('bundles', () => {
  test('the one that ships is listed and verifies, by name and by path', async () => {
    const list = await raccoon(['bundle', 'list', '--json']);
    expectSuccess(list);
    const bundles = JSON.parse(list.stdout) as { name: string; folder: string }[];
    expect(bundles).toContainEqual(
      expect.objectContaining({ name: 'imagenet1k-mobilenet', folder: shippedBundle }),
    );
    const table = await raccoon(['bundle', 'list']);
    expectSuccess(table);
    expect(table.stdout).toContain('n=0 q=0');
    for (const bundle of ['imagenet1k-mobilenet', shippedBundle]) {
      const ended = await raccoon(['bundle', 'verify', bundle]);
      expectSuccess(ended);
      expect(ended.stdout).toContain('all as the manifest says');
    }
  });

  test.each(['decoder.onnx', 'tables.bin'])('one bit of %s flipped', async (name) => {
    const folder = temporaryFolder();
    cpSync(shippedBundle, folder, { recursive: true });
    const file = join(folder, name);
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(file, bytes);
    expectFailure(await raccoon(['bundle', 'verify', folder]), `${name} was changed`);
    expectFailure(
      await raccoon(['cloud', '--bundle', folder, '--listen', '127.0.0.1:0']),
      `${name} was changed`,
    );
  });

  test('one that is not there', async () => {
    expectFailure(await raccoon(['bundle', 'verify', './nowhere']), 'nowhere');
    expectFailure(await raccoon(['bundle', 'verify', 'nowhere']), 'no bundle named nowhere');
  });
});
