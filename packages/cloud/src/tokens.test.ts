import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createLog, type Log } from './log.ts';
import { makeToken, sameToken, Tokens } from './tokens.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'raccoon-tokens-'));
  file = join(folder, 'tokens.json');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What was logged, line by line. */
function logged(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  return { log: createLog('debug', { write: (line) => void lines.push(line) }), lines };
}

function open(lines: unknown, log = createLog('silent')): Tokens {
  writeFileSync(file, JSON.stringify(lines));
  const tokens = new Tokens(file, log);
  onTestFinished(() => tokens.close());
  return tokens;
}

/** SHA-256 of "opensesame". */
const SESAME = 'd9fb92e3bbe65be1f1aad4a82eef4567f7a1ebe2cd110c8049b9698be7a70c88';

test('a token is known by its hash, with what its line allows', () => {
  const line = { name: 'camera-1', sha256: SESAME, bundles: ['small'], imagesPerSecond: 5 };
  const tokens = open([{ name: 'other', sha256: '0'.repeat(64) }, line]);
  expect(tokens.caller('opensesame')).toEqual({ name: 'camera-1', bundles: ['small'], imagesPerSecond: 5 });
  expect(tokens.has('camera-1')).toBe(true);
  expect(tokens.has('camera-2')).toBe(false);
});

test('a made token opens, and is not in its line', () => {
  const { token, line } = makeToken({ name: 'a' });
  expect(JSON.stringify(line)).not.toContain(token);
  expect(token).toMatch(/^rac_[\w-]{43}$/);
  expect(open([line]).caller(token)).toEqual({ name: 'a' });
  expect(makeToken({ name: 'a' }).token).not.toBe(token);
  expect(sameToken(token, token)).toBe(true);
  expect(sameToken(token, `${token} `)).toBe(false);
});

test.each([[undefined], [''], ['opensesam'], ['opensesame '], [SESAME]])('unauthenticated: %s', (token) => {
  const tokens = open([{ name: 'a', sha256: SESAME }]);
  expect(() => tokens.caller(token)).toThrow(expect.objectContaining({ code: 'unauthenticated' }));
});

describe('a file that is wrong', () => {
  test.each([
    ['dear diary', 'is not JSON'],
    ['{}', 'not a list'],
    ['[1]', 'token 1: it is not an object'],
    [`[{"name":"a","sha256":"${SESAME}","token":"x"}]`, 'nobody knows the field token'],
    [`[{"name":"a b","sha256":"${SESAME}"}]`, 'token 1: name'],
    ['[{"name":"a","sha256":"opensesame"}]', 'token 1: sha256'],
    [`[{"name":"a","sha256":"${SESAME}","bundles":"b"}]`, 'bundles: a list'],
    [`[{"name":"a","sha256":"${SESAME}","imagesPerSecond":0}]`, 'imagesPerSecond: a number above 0'],
  ])('%s', (content, why) => {
    writeFileSync(file, content);
    const read = (): unknown => new Tokens(file, createLog('silent'));
    expect(read).toThrow(expect.objectContaining({ name: 'CloudError', code: 'tokens' }));
    expect(read).toThrow(why);
    expect(read).toThrow(`--tokens ${file}`);
  });

  test('is not there', () => {
    expect(() => new Tokens(file, createLog('silent'))).toThrow('raccoon token');
  });

  test('later: what was known stays known, and the log says so', () => {
    const { log, lines } = logged();
    const tokens = open([{ name: 'a', sha256: SESAME }], log);
    writeFileSync(file, '[{"name":');
    tokens.read();
    expect(tokens.caller('opensesame').name).toBe('a');
    expect(lines.join('')).toContain('tokens kept as they were');
    expect(lines.join('')).not.toContain('opensesame');
  });
});

test('the file is followed', async () => {
  const tokens = open([{ name: 'a', sha256: SESAME }]);
  writeFileSync(file, JSON.stringify([{ name: 'b', sha256: SESAME }]));
  await vi.waitUntil(() => tokens.has('b'), { timeout: 20_000, interval: 50 });
  expect(tokens.caller('opensesame').name).toBe('b');
});
